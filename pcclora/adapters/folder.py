"""The two files of a saved adapter, in Hugging Face peft's names: adapter_config.json and adapter_model.safetensors.

The header of the second holds what peft has no place for: versions, the settings again, a sha256 over the tensors, the
fingerprint of the base. Each file is replaced in one step, so a crash leaves each of them whole; if it leaves them from
two different saves, the settings in the header say so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcclora.adapters.state import digest
from pcclora.atomic import read_json, replacing, write_json
from pcclora.errors import PccloraError

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
_FORMAT = "1"


@dataclass(frozen=True)
class AdapterFiles:
    """What a folder holds.

    Attributes:
        path: The folder.
        config: What adapter_config.json says.
        tensors: What adapter_model.safetensors holds.
        header: Its header; empty if another program wrote it.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    header: dict[str, str]

    @property
    def fingerprint(self) -> str | None:
        """That of the base weights, if the file has one."""
        return self.header.get("pcclora_base_sha256")


def write_files(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], fingerprint: str) -> None:
    """Write or replace both files.

    Args:
        folder: Is created if it is not there.
        config: Settings, in plain JSON types.
        tensors: By their names in the file.
        fingerprint: Of the base weights.

    Raises:
        PccloraError: If a tensor is not finite, or the files cannot be written.
    """
    from safetensors.torch import save_file

    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise PccloraError(f"'{name}' is not finite, so it is not saved; train again with a lower learning rate")
    # a copy of each: safetensors refuses tensors that share memory
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {
        "format": "pt",
        "pcclora_format": _FORMAT,
        "pcclora_version": _own_version(),
        "torch_version": torch.__version__,
        "pcclora_config": json.dumps(config, sort_keys=True),
        "pcclora_base_sha256": fingerprint,
    }
    header["pcclora_sha256"] = _checksum(copies, header)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / TENSORS) as temporary:
            save_file(copies, temporary, metadata=header)
        write_json(folder / CONFIG, config)
    except OSError as error:
        raise PccloraError(f"{folder}: cannot be written: {error}; choose another folder") from error


def read_files(folder: Path) -> AdapterFiles:
    """Read both files and compare them with the checksum.

    Raises:
        PccloraError: If one is absent, truncated, something else, or does not have the checksum that it says.
    """
    from safetensors import SafetensorError, safe_open

    for path in (folder / CONFIG, folder / TENSORS):
        if not path.is_file():
            raise PccloraError(f"{path}: no such file; a saved adapter is a folder with {CONFIG} and {TENSORS}")
    path = folder / TENSORS
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise PccloraError(
            f"{path}: truncated, damaged, or not a safetensors file at all ({error}); copy or download it again"
        ) from error
    if any(key.startswith("pcclora") for key in header):
        _check_header(path, header, tensors)
    return AdapterFiles(folder, read_json(folder / CONFIG), tensors, header)


def check_same_save(files: AdapterFiles) -> None:
    """Compare adapter_config.json with the settings in the header.

    Raises:
        PccloraError: If they differ.
    """
    if "pcclora_config" not in files.header:
        return
    written: dict[str, Any] = json.loads(files.header["pcclora_config"])
    for key in sorted(written.keys() | files.config.keys()):
        here, there = (json.dumps(values[key]) if key in values else "absent" for values in (files.config, written))
        if here != there:
            raise PccloraError(
                f"{files.path / CONFIG}: {key} is {here}, but {TENSORS} was written with {there}: edited by hand, or a "
                "save was interrupted; save the adapter again"
            )


def _check_header(path: Path, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    known = header.get("pcclora_format")
    if known != _FORMAT:
        raise PccloraError(
            f"{path}: its format is {known}, this version reads {_FORMAT}; use the version that wrote it"
        )
    is_now, was = _checksum(tensors, header), header.get("pcclora_sha256")
    if is_now != was:
        raise PccloraError(f"{path}: has sha256 {is_now}, was written with {was}: it is damaged; copy it again")


def _checksum(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    rest = {key: value for key, value in sorted(header.items()) if key != "pcclora_sha256"}
    words = torch.frombuffer(bytearray(json.dumps(rest).encode()), dtype=torch.uint8)
    return digest({**tensors, "": words})


def _own_version() -> str:
    try:
        return version("pcclora")
    except PackageNotFoundError:
        return "not installed"
