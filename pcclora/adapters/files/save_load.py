"""Save an adapter, load it again: a few hundred kilobytes that turn base weights into a trained model.

The files are those of :mod:`pcclora.adapters.files.folder`. LoRA and CLoRA that peft can hold are in peft's form
(:mod:`pcclora.adapters.files.peft_lora`, :mod:`pcclora.adapters.files.peft_clora`), everything else under the names of
:mod:`pcclora.adapters.files.tensors`; the tensors' names tell which.
"""

import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

from torch import Tensor, nn

from pcclora.adapters.attach import active_adapter, attached, host_of, set_adapter
from pcclora.adapters.base import Adapter
from pcclora.adapters.files import peft_clora, peft_lora
from pcclora.adapters.files.card import adapter_card, write_card
from pcclora.adapters.files.fitting import fit
from pcclora.adapters.files.folder import TENSORS, AdapterFiles, adapter_folder, read_files, write_files
from pcclora.adapters.files.tensors import (
    adapter_tensors,
    base_fingerprint,
    check_derived,
    derived,
    load_adapter_tensors,
)
from pcclora.adapters.host import AdapterHost
from pcclora.config import from_dict
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


class PeftForm(Protocol):
    """How a method's file looks where Hugging Face peft has the method too; a module of its own for each."""

    def is_native_to_peft(self, model: nn.Module, adapter: Adapter) -> bool:
        """Tell whether an adapter is exactly what peft has."""

    def as_peft(
        self, model: nn.Module, name: str, config: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
        """Return the settings, given in our words, and the tensors of an adapter as peft has them."""

    def from_peft(self, model: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors of :meth:`as_peft`'s names under the names that the adapter has for them."""

    def read_config(self, files: AdapterFiles, model: nn.Module) -> Any:
        """Return the settings of a folder in this form."""


PEFT_FORMS: Mapping[str, PeftForm] = MappingProxyType({"LORA": peft_lora, "CLORA": peft_clora})
"""By the ``peft_type`` of their files."""


def save_adapter(model: nn.Module, folder: str | Path, *, name: str | None = None) -> None:
    """Write an adapter with all that it trains: adapter_config.json, adapter_model.safetensors, and a card, README.md.

    Args:
        model: An adapted model, merged or not.
        folder: Where; an adapter that is there is replaced. A README.md that pcclora did not write stays.
        name: Which adapter; None is the active one.

    Raises:
        PccloraError: If there is no such adapter, one of its tensors is not finite, or nothing can be written there.

    Examples:
        >>> from pathlib import Path
        >>> import pcclora
        >>> model = pcclora.create_model("point_mae_tiny", num_classes=16, pretrained=True)
        >>> adapter = pcclora.attach(model, pcclora.CLoRAConfig(r=8))
        >>> pcclora.save_adapter(model, "my_adapter")
        >>> sorted(file.name for file in Path("my_adapter").iterdir())
        ['README.md', 'adapter_config.json', 'adapter_model.safetensors']
    """
    name, adapter = active_adapter(model, name)
    fingerprint = base_fingerprint(model, exclude=host_of(model).aside[name])
    config: Mapping[str, Any] = _describe(adapter)
    tensors = adapter_tensors(model, name)
    card = adapter_card(model, adapter, tensors, fingerprint)
    for form in PEFT_FORMS.values():
        if form.is_native_to_peft(model, adapter):
            config, tensors = form.as_peft(model, name, config)
    write_files(Path(folder), config, tensors, fingerprint, derived(adapter))
    write_card(Path(folder), card)


def load_adapter(model: nn.Module, folder: str | Path, *, name: str = "default") -> Adapter:
    """Load an adapter that :func:`save_adapter` or peft wrote, onto the base weights it was trained on.

    It is attached first. If the model has an adapter of this name already, the file must have the very same settings,
    and is loaded into it.

    Args:
        model: Has its base weights.
        folder: With adapter_config.json and adapter_model.safetensors; or ``hub:owner/name`` on the Hugging Face hub,
            ``hub:owner/name@revision``: where it cannot be reached, the copy that was fetched last is used.
        name: What to call the adapter.

    Returns:
        The adapter, active.

    Raises:
        PccloraError: If a file is absent or damaged, or does not belong to this model, these base weights or the
            adapter that is there, or the hub cannot be reached. The model is unchanged then.

    Examples:
        >>> import pcclora
        >>> model = pcclora.create_model("point_mae_tiny", num_classes=16, pretrained=True)
        >>> adapter = pcclora.attach(model, pcclora.CLoRAConfig(r=8))
        >>> pcclora.save_adapter(model, "my_adapter")
        >>> again = pcclora.create_model("point_mae_tiny", num_classes=16, pretrained=True)
        >>> pcclora.load_adapter(again, "my_adapter").config.r
        8
    """
    files = read_files(adapter_folder(folder))
    config = _read_config(files, model)
    host = getattr(model, "adapters", None)
    if isinstance(host, AdapterHost) and name in host:
        _check_same_settings(cast("Adapter", host[name]), config, name, files)
        _fill(model, files, name)
        if host.active != name:
            set_adapter(model, name)
        return cast("Adapter", host[name])
    with attached(model, config, name, where=str(files.settings)) as adapter:
        _fill(model, files, name)
    return adapter


def _fill(model: nn.Module, files: AdapterFiles, name: str) -> None:
    """Check the tensors and the base, then load."""
    _, adapter = active_adapter(model, name)
    tensors, place = files.tensors, files.path / TENSORS
    if peft_lora.is_peft(tensors):
        form = _peft_form(files)
        _, expected = form.as_peft(model, name, {})
        tensors = form.from_peft(model, name, fit(tensors, expected, where=str(place)))
    else:
        fit(tensors, adapter_tensors(model, name), where=str(place))
    here = base_fingerprint(model, exclude=host_of(model).aside[name])
    if files.fingerprint is None:
        warnings.warn(f"{place} has no fingerprint: that its base weights are these is not checked", stacklevel=3)
    elif files.fingerprint != here:
        raise PccloraError(
            f"{place}: trained on other base weights (fingerprint {files.fingerprint[:12]}, here {here[:12]}); "
            "load the checkpoint that it was trained on into the model first"
        )
    check_derived(adapter, files.derived, where=str(place))
    load_adapter_tensors(model, tensors, name)


def _read_config(files: AdapterFiles, model: nn.Module) -> Any:
    place = files.settings
    if peft_lora.is_peft(files.tensors):
        return _peft_form(files).read_config(files, model)
    if files.fingerprint is None:
        raise PccloraError(f"{files.path / TENSORS}: written neither by save_adapter nor by peft")
    values = dict(files.config)
    values.pop("base_model_name_or_path", None)
    method = str(values.pop("peft_type", "absent"))
    try:
        entry = ADAPTERS.get(method.lower())
    except PccloraError as error:
        raise PccloraError(f"{place}: peft_type {method}: {error}") from error
    return from_dict(entry.config, values, source=str(place))


def _peft_form(files: AdapterFiles) -> PeftForm:
    return PEFT_FORMS.get(str(files.config.get("peft_type")), PEFT_FORMS["LORA"])


def _describe(adapter: Adapter) -> dict[str, Any]:
    method = ADAPTERS.name_of(adapter.config).upper()
    settings = settings_of(adapter)
    for name in adapter.config.still_default(settings):
        del settings[name]  # so that versions that do not know it read the file too
    return {"peft_type": method, "base_model_name_or_path": None, **settings}


def settings_of(adapter: Adapter) -> dict[str, Any]:
    """Return the settings with what their patterns have found."""
    found: dict[str, Any] = {"modules_to_save": adapter.modules_to_save}
    if any(field.name == "target_modules" for field in fields(adapter.config)):
        found["target_modules"] = tuple(map(str, adapter.targets))
    from pcclora.config import to_dict

    return to_dict(replace(adapter.config, **found))


def _check_same_settings(adapter: Adapter, config: Any, name: str, files: AdapterFiles) -> None:
    if type(config) is not type(adapter.config):
        raise PccloraError(
            f"{files.settings}: holds {type(config).__name__}, adapter '{name}' of the model has "
            f"{type(adapter.config).__name__}; detach it, or load under another name"
        )
    from pcclora.config import to_dict

    there, here = to_dict(config), settings_of(adapter)
    for key, value in there.items():
        if value != here[key]:
            raise PccloraError(
                f"{files.settings}: {key} is {value}, adapter '{name}' of the model has {here[key]}; "
                "detach it, or load under another name"
            )
