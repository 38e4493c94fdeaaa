"""Files of tensors: safetensors with a checksum, there whole or not at all, the same bytes for the same content.

They are written here and not by the library, whose writer puts the entries of a header in an order of chance, leaves
files of its own behind when it is killed, and needs a second copy of everything in memory. Its reader reads them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from pcclora.atomic import replacing
from pcclora.errors import PccloraError
from pcclora.paths import check_regular

SHA256 = "pcclora_sha256"
"""Entry of the header: a sha256 over the tensors and all other entries."""

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """Write or replace a safetensors file atomically.

    Args:
        path: Where to.
        tensors: Any, also views and those that share memory.
        header: What its header says beside the checksum.

    Raises:
        PccloraError: If it cannot be written, or a tensor is of a type that such a file cannot hold.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    signed = dict(header or {})
    signed[SHA256] = checksum(held, signed)
    entries: dict[str, object] = {"__metadata__": dict(sorted(signed.items()))}
    order, end = sorted(held, key=lambda name: (-held[name].itemsize, name)), 0  # the widest first: all are aligned
    for name in order:
        tensor = held[name]
        if tensor.dtype not in _TYPES:
            raise PccloraError(f"{path}: '{name}' is {tensor.dtype}; a file holds {', '.join(_TYPES.values())}")
        begin, end = end, end + tensor.nbytes
        entries[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(_bytes(held[name]))


def read_tensors(path: Path, *, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file, and compare it with its checksum if it has one.

    Args:
        path: The file.
        remedy: What to do if it is damaged.

    Returns:
        Its tensors, and the entries of its header.

    Raises:
        PccloraError: If it is absent, damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with openable(path) as name, safe_open(name, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        wrong = "truncated, damaged, or not a safetensors file at all" if path.is_file() else "cannot be read"
        raise PccloraError(f"{path}: {wrong} ({error}); {remedy}") from error
    if SHA256 in header and (found := checksum(tensors, header)) != header[SHA256]:
        raise PccloraError(f"{path}: has sha256 {found}, was written with {header[SHA256]}: it is damaged; {remedy}")
    return tensors, header


@contextmanager
def openable(path: Path) -> Iterator[str]:
    """Give a file's path as safetensors opens it: it takes UTF-8 alone, and names here are bytes.

    Args:
        path: Any; what is opened by the name inside stays open.

    Raises:
        PccloraError: If it is no file, but a folder, a device or a pipe.
    """
    check_regular(path)
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
        return
    yield str(path)


def checksum(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """Return a sha256 over tensors and the entries of a header, without that of the checksum itself."""
    rest = {key: value for key, value in sorted(header.items()) if key != SHA256}
    words = torch.frombuffer(bytearray(json.dumps(rest).encode()), dtype=torch.uint8)
    return digest({**tensors, "": words})


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a sha256 over the names, types, shapes and bytes of tensors."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode())
        sha.update(_bytes(tensor))
    return sha.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor that is contiguous and on the CPU, without copying them."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data
