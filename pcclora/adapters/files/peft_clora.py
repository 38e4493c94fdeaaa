"""CLoRA's files in the form of Hugging Face peft, as it writes them once :mod:`pcclora.adapters.hf_peft` is imported.

``save_adapter`` writes this form where peft can hold what trains beside the adapter, so one folder serves both:
``base_model.clora_768x768.D`` are the bases of a shape, ``base_model.model.head.weight`` is of a trained module.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from pcclora.adapters.base import Adapter
from pcclora.adapters.files.folder import AdapterFiles
from pcclora.adapters.files.peft_lora import NO_MATTER, PREFIX, obstacle, saved_modules
from pcclora.adapters.files.tensors import adapter_tensors
from pcclora.adapters.methods.clora import CLoRA, CLoRAConfig
from pcclora.config import from_dict
from pcclora.forms import check_form

_OWN, _SHARED = "groups.", "base_model.clora_"


def is_native_to_peft(model: nn.Module, adapter: Adapter) -> bool:
    """Tell whether an adapter is CLoRA with whole modules beside it."""
    return isinstance(adapter, CLoRA) and obstacle(model, adapter) is None


def as_peft(model: nn.Module, name: str, config: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """Return the settings as they are, and the tensors of a CLoRA adapter under peft's names."""
    tensors = adapter_tensors(model, name)
    return config, {key: tensors[own] for own, key in _names(tensors).items()}


def from_peft(model: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of :func:`as_peft`'s names under the names that the adapter has for them."""
    return {own: tensors[key] for own, key in _names(adapter_tensors(model, name)).items()}


def read_config(files: AdapterFiles, model: nn.Module) -> CLoRAConfig:
    """Return the settings of a folder in this form, with the full names of what trains beside the adapter.

    Raises:
        PccloraError: If a setting is unknown or has no meaning.
    """
    values = {key: value for key, value in files.config.items() if key not in NO_MATTER}
    check_form(values, {"modules_to_save?": ([str], None)}, files.settings, remedy="copy or save the adapter again")
    values["modules_to_save"] = saved_modules(model, values.get("modules_to_save") or ())  # peft's None is nothing
    return from_dict(CLoRAConfig, values, source=str(files.settings))


def _names(own: Iterable[str]) -> dict[str, str]:
    return {key: _SHARED + key.removeprefix(_OWN) if key.startswith(_OWN) else PREFIX + key for key in own}
