"""One memory-mapped file a split, made once from a slow form: safetensors with clouds, labels, and names in its header.

A loader picks it up by its name. It is whole or absent, and has a sha256 over all of it that is compared each time it
is opened: a flipped bit in a label would change results and never be seen.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pcclora import tensor_file
from pcclora.atomic import parse_json
from pcclora.data.base import IntArray
from pcclora.data.readers.class_lists import check_distinct
from pcclora.data.readers.files import unreadable
from pcclora.errors import PccloraError
from pcclora.forms import check_form

VERSION = 2
"""Of the files that are written; those of version 1 have no checksum."""
REMEDY = "delete it and run pcclora prepare again"
_FORMAT = "pcclora clouds"


class MappedClouds:
    """Clouds (M, N, 3) float32 of a prepared file, read from the memory map one at a time.

    Args:
        path: The file. Each process opens it for itself, so that this can be sent to another.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: Any = None
        self._length = self._open().get_shape()[0]

    def _open(self) -> Any:
        if self._rows is None:
            from safetensors import safe_open

            with tensor_file.openable(self.path) as name:
                file: Any = safe_open(name, framework="np")
            self._rows = file.get_slice("points")
        return self._rows

    def __len__(self) -> int:
        return int(self._length)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        return np.asarray(self._open()[index])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_length": self._length, "_rows": None}


@dataclass(frozen=True)
class Prepared:
    """What a prepared file holds. Its clouds are normalised to the unit sphere and stored in farthest-point order."""

    clouds: MappedClouds
    labels: IntArray
    class_names: tuple[str, ...]
    places: tuple[str, ...]


def save_prepared(
    path: Path, *, points: NDArray[np.float32], labels: IntArray, class_names: Sequence[str], places: Sequence[str]
) -> None:
    """Write a prepared file; an existing one is replaced only when the new one is whole.

    Args:
        path: Where to.
        points: (M, N, 3), normalised, in farthest-point order.
        labels: (M,).
        class_names: One name a class.
        places: (M) what each cloud is called.
    """
    header = {"class_names": list(class_names), "places": list(places)}
    write_tensors(path, {"points": np.ascontiguousarray(points, np.float32), "labels": labels}, header, _FORMAT)


def open_prepared(path: Path) -> Prepared:
    """Open a prepared file.

    Raises:
        PccloraError: If it is damaged, or no such file.
    """
    tensors, header = read_header(path, {"class_names": [str], "places": [str]}, _FORMAT)
    points = take(tensors, "points", torch.float32, (None, None, 3), path)
    labels = take(tensors, "labels", torch.int64, (len(points),), path)
    if len(header["places"]) != len(points):
        raise PccloraError(f"{path}: {len(header['places'])} names for {len(points)} clouds; {REMEDY}")
    check_distinct(header["class_names"], path)
    return Prepared(MappedClouds(path), labels.copy(), tuple(header["class_names"]), tuple(header["places"]))


def write_tensors(path: Path, tensors: dict[str, NDArray[Any]], header: dict[str, Any], kind: str) -> None:
    """Write a safetensors file whose header holds JSON values; an existing one is replaced when the new one is whole.

    Args:
        path: Where to.
        tensors: What to write.
        header: What its header says.
        kind: What :func:`read_header` must find again.
    """
    metadata = {"format": f"{kind} {VERSION}"} | {key: json.dumps(value) for key, value in header.items()}
    held = {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in tensors.items()}
    tensor_file.write_tensors(path, held, metadata)


def read_header(path: Path, form: dict[str, Any], kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Map the tensors, and read what the header says, of a file of :func:`write_tensors`; all of it is checked.

    Args:
        path: The file.
        form: What the header must hold, for :func:`pcclora.forms.check_form`.
        kind: What was given when it was written.

    Raises:
        PccloraError: If it is absent, damaged, of another kind or version.
    """
    try:
        tensors, metadata = tensor_file.read_tensors(path, remedy=REMEDY)
    except PccloraError as error:
        if isinstance(error.__cause__, Exception):
            raise unreadable(path, error.__cause__, REMEDY) from error  # it may be a web page, or empty
        raise
    old = metadata.get("format") == f"{kind} 1"
    if metadata.get("format") != f"{kind} {VERSION}" and not old:
        raise PccloraError(f"{path}: not a file of this version's pcclora prepare; {REMEDY}")
    if tensor_file.SHA256 not in metadata:
        if not old:
            raise PccloraError(f"{path}: its checksum is gone: it is damaged; {REMEDY}")
        warnings.warn(f"{path}: has no checksum, so damage would not be seen; {REMEDY}", stacklevel=2)
    texts = {key: metadata[key] for key in form if key in metadata}
    header = {key: parse_json(text, f"{path}, '{key}'") for key, text in texts.items()}
    check_form(header, form, path, remedy=REMEDY)
    return tensors, header


def take(
    tensors: dict[str, torch.Tensor], name: str, dtype: torch.dtype, shape: tuple[int | None, ...], path: Path
) -> NDArray[Any]:
    """Return one tensor of a prepared file as an array, still mapped.

    Args:
        tensors: All of them.
        name: Which.
        dtype: What it must be.
        shape: What its shape must be; None is any length above 0.
        path: The file, for the message.

    Raises:
        PccloraError: If it is absent, or something else.
    """
    found = tensors.get(name)
    expected = f"{dtype} ({', '.join('any' if length is None else str(length) for length in shape)})"
    if found is None:
        raise PccloraError(f"{path}: no '{name}' in it, {expected} is needed; {REMEDY}")
    fits = len(found.shape) == len(shape) and all(
        there == wanted or (wanted is None and there > 0) for there, wanted in zip(found.shape, shape, strict=True)
    )
    if found.dtype != dtype or not fits:
        raise PccloraError(f"{path}: '{name}' is {found.dtype} {tuple(found.shape)}, {expected} is needed; {REMEDY}")
    return found.numpy()
