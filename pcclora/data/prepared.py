"""One memory-mapped file a split, made once from a slow form: safetensors with clouds, labels, and names in its header.

A loader picks it up by its name. It is written to a temporary file and moved into place, so that it is whole or absent.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pcclora import tensor_file
from pcclora.data.base import IntArray
from pcclora.data.files import unreadable
from pcclora.errors import PccloraError

_FORMAT = "pcclora clouds 1"


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

            file: Any = safe_open(self.path, framework="np")
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
    tensors, header = read_header(path, ("labels",), ("class_names", "places"), _FORMAT)
    return Prepared(MappedClouds(path), tensors["labels"], tuple(header["class_names"]), tuple(header["places"]))


def write_tensors(path: Path, tensors: dict[str, NDArray[Any]], header: dict[str, Any], version: str) -> None:
    """Write a safetensors file whose header holds JSON values; an existing one is replaced when the new one is whole.

    Args:
        path: Where to.
        tensors: What to write.
        header: What its header says.
        version: What :func:`read_header` must find again.
    """
    metadata = {"format": version} | {key: json.dumps(value) for key, value in header.items()}
    held = {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in tensors.items()}
    tensor_file.write_tensors(path, held, metadata)


def read_header(
    path: Path, tensors: Sequence[str], keys: Sequence[str], version: str
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read some tensors, and what the header says, of a file of :func:`write_tensors`.

    Raises:
        PccloraError: If it is absent, damaged, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    remedy = "delete it and run prepare.py again"
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != version:
                raise PccloraError(f"{path}: not a file of this version's prepare.py; {remedy}")
            found = {name: file.get_tensor(name) for name in tensors}
        return found, {key: json.loads(metadata[key]) for key in keys}
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise unreadable(path, error, remedy) from error
