"""The two files of a saved adapter, in Hugging Face peft's names: adapter_config.json and adapter_model.safetensors.

The second one is the adapter: its header has the settings too, with versions, the fingerprint of the base and a sha256
over all of it. It is replaced in one step, so a crash leaves the old adapter or the new one. adapter_config.json is for
peft and for people; of an adapter that peft wrote it is all that there is.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pcclora.atomic import make_folder, parse_json, read_json, write_json
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.hub import is_on_hub, local
from pcclora.paths import is_file
from pcclora.tensor_file import SHA256, read_tensors, write_tensors

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
INSIDE = "adapter"
"""The folder of a run that has its adapter; on a hub an adapter lies there, or on its own."""
_FORMAT = "1"
_SETTINGS, _DERIVED = "pcclora_config", "pcclora_derived"


@dataclass(frozen=True)
class AdapterFiles:
    """What a folder holds.

    Attributes:
        path: The folder.
        config: The settings: of the header if we wrote it, else what adapter_config.json says.
        tensors: What adapter_model.safetensors holds.
        header: Its header; empty if another program wrote it.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    header: dict[str, str]

    @property
    def settings(self) -> Path:
        """The file that the settings are from."""
        return self.path / (TENSORS if _SETTINGS in self.header else CONFIG)

    @property
    def fingerprint(self) -> str | None:
        """That of the base weights, if the file has one."""
        return self.header.get("pcclora_base_sha256")

    @property
    def derived(self) -> Any:
        """What :func:`~.tensors.derived` said of the tensors that are made again, if there were any."""
        return parse_json(self.header.get(_DERIVED, "{}"), f"{self.path / TENSORS}: {_DERIVED} in its header")


def write_files(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    fingerprint: str,
    derived: Mapping[str, Sequence[float]] = MappingProxyType({}),
) -> None:
    """Write or replace both files.

    Args:
        folder: Is created if it is not there.
        config: Settings, in plain JSON types.
        tensors: By their names in the file.
        fingerprint: Of the base weights.
        derived: Figures of tensors that are made again from the settings and the base, not stored.

    Raises:
        PccloraError: If a tensor is not finite, or the files cannot be written.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise PccloraError(f"'{name}' is not finite, so it is not saved; train again with a lower learning rate")
    header = {
        "format": "pt",
        "pcclora_format": _FORMAT,
        "pcclora_version": _own_version(),
        "torch_version": torch.__version__,
        _SETTINGS: json.dumps(config, sort_keys=True),
        "pcclora_base_sha256": fingerprint,
        **({_DERIVED: json.dumps(derived, sort_keys=True)} if derived else {}),
    }
    make_folder(folder)
    write_tensors(folder / TENSORS, tensors, header)
    write_json(folder / CONFIG, config)


def adapter_folder(place: str | Path) -> Path:
    """Return the folder of an adapter's files: the one that is given, or that of a ``hub:...``, which is fetched.

    Raises:
        PccloraError: If it is on a hub and cannot be fetched.
    """
    if not is_on_hub(place):
        return Path(place)
    found = local(place, [f"{folder}{name}" for folder in ("", f"{INSIDE}/") for name in (CONFIG, TENSORS)])
    return found / INSIDE if is_file(found / INSIDE / TENSORS) else found


def read_files(folder: Path) -> AdapterFiles:
    """Read both files and compare the tensors with their checksum.

    Raises:
        PccloraError: If one is absent, truncated, something else, or does not have the checksum that it says.
    """
    path = folder / TENSORS
    if not is_file(path):
        raise PccloraError(f"{path}: no such file; a saved adapter is a folder with {CONFIG} and {TENSORS}")
    tensors, header = read_tensors(path, remedy="copy or download it again")
    if not any(key.startswith("pcclora") for key in header):
        if not is_file(folder / CONFIG):
            raise PccloraError(f"{folder / CONFIG}: no such file; copy it too, {TENSORS} does not say its settings")
        return AdapterFiles(folder, read_json(folder / CONFIG), tensors, header)
    if header.get("pcclora_format") != _FORMAT:
        raise PccloraError(
            f"{path}: its format is {header.get('pcclora_format')}, this version reads {_FORMAT}; use the version that "
            "wrote it"
        )
    for key in (SHA256, _SETTINGS, "pcclora_base_sha256"):
        if key not in header:
            raise PccloraError(f"{path}: its header has no {key}: it is damaged; copy or download it again")
    settings = parse_json(header[_SETTINGS], f"{path}: {_SETTINGS} in its header")
    check_form(settings, {}, f"{path}: {_SETTINGS} in its header", remedy="copy or download it again")
    _compare(folder / CONFIG, settings)
    return AdapterFiles(folder, settings, tensors, header)


def _compare(path: Path, settings: Mapping[str, Any]) -> None:
    """Say it if adapter_config.json has other settings than the tensors beside it were written with."""
    if not is_file(path):
        warnings.warn(
            f"{path} is absent: a save was interrupted; {TENSORS} is whole and says the settings", stacklevel=4
        )
        return
    try:
        held = read_json(path)
    except PccloraError as error:
        raise PccloraError(f"{error}; copy it again, or delete it: {TENSORS} says the settings too") from error
    for key in sorted(settings.keys() | held.keys()):
        here, there = (_shown(values, key) for values in (held, settings))
        if key not in held or key not in settings or held[key] != settings[key]:
            warnings.warn(
                f"{path}: {key} is {here}, but {TENSORS} was written with {there}, which counts: the file is "
                "stale after an interrupted save, or was edited by hand; the next save rewrites it",
                stacklevel=4,
            )
            return


def _shown(values: Mapping[str, Any], key: str) -> str:
    text = json.dumps(values[key]) if key in values else "absent"
    return text if len(text) <= 60 else f"{text[:60]}…"


def _own_version() -> str:
    try:
        return version("pcclora")
    except PackageNotFoundError:
        return "not installed"
