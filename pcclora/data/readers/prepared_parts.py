"""One memory-mapped file a split for clouds of several lengths with part labels: all points one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pcclora.data.base import FloatArray, IntArray, Parts
from pcclora.data.readers.class_lists import check_distinct
from pcclora.data.readers.prepared import REMEDY, read_header, take, write_tensors
from pcclora.errors import PccloraError
from pcclora.tensor_file import openable

_FORMAT = "pcclora parts"
_HEADER = {"class_names": [str], "parts": [([str], [[int]])], "names": [str], "listed": int}


@dataclass
class PreparedParts:
    """What a prepared file holds; its clouds, as they were in their files, are read from the map one at a time.

    Attributes:
        path: The file. Each process opens it for itself, so that this can be sent to another.
        labels: (M,) class of each cloud.
        ends: (M + 1,) where each cloud begins, and where the last one ends.
        class_names: One name a class.
        parts: What each class is made of.
        names: (M) what each cloud is called.
        listed: How many there are in the official list.
    """

    path: Path
    labels: IntArray
    ends: IntArray
    class_names: tuple[str, ...]
    parts: Parts
    names: tuple[str, ...]
    listed: int
    _slices: tuple[Any, Any] | None = field(default=None, repr=False)

    def __getitem__(self, index: int) -> tuple[FloatArray, IntArray]:
        if self._slices is None:
            from safetensors import safe_open

            with openable(self.path) as name:
                file: Any = safe_open(name, framework="np")
            self._slices = file.get_slice("points"), file.get_slice("part_labels")
        points, part_labels = self._slices
        rows = slice(int(self.ends[index]), int(self.ends[index + 1]))
        return np.asarray(points[rows]), np.asarray(part_labels[rows], dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_slices": None}


def save_prepared_parts(
    path: Path,
    *,
    clouds: Sequence[tuple[NDArray[np.floating], IntArray]],
    labels: IntArray,
    class_names: Sequence[str],
    parts: Parts,
    names: Sequence[str],
    listed: int,
) -> None:
    """Write a prepared file; an existing one is replaced only when the new one is whole.

    Args:
        path: Where to.
        clouds: For each object, points (N, 3) and part labels (N,).
        labels: (M,) class of each.
        class_names: One name a class.
        parts: What each class is made of.
        names: (M) what each is called.
        listed: How many there are in the official list.
    """
    tensors: dict[str, NDArray[Any]] = {
        "points": np.concatenate([points for points, _ in clouds]).astype(np.float32),
        "part_labels": np.concatenate([part_labels for _, part_labels in clouds]).astype(np.int16),
        "ends": np.cumsum([0, *(len(points) for points, _ in clouds)]),
        "labels": labels,
    }
    header = {
        "class_names": list(class_names),
        "parts": [parts.names, parts.of_class],
        "names": list(names),
        "listed": listed,
    }
    write_tensors(path, tensors, header, _FORMAT)


def open_prepared_parts(path: Path) -> PreparedParts:
    """Open a prepared file.

    Raises:
        PccloraError: If it is damaged, or no such file.
    """
    tensors, header = read_header(path, _HEADER, _FORMAT)
    points = take(tensors, "points", torch.float32, (None, 3), path)
    take(tensors, "part_labels", torch.int16, (len(points),), path)
    labels = take(tensors, "labels", torch.int64, (None,), path)
    ends = take(tensors, "ends", torch.int64, (len(labels) + 1,), path)
    if ends[0] != 0 or ends[-1] != len(points) or (np.diff(ends) < 1).any():
        raise PccloraError(f"{path}: its clouds do not follow each other from the first point to the last; {REMEDY}")
    if not len(labels) == len(header["names"]) <= header["listed"]:
        counts = f"{len(labels)} clouds, {len(header['names'])} names, {header['listed']} listed"
        raise PccloraError(f"{path}: {counts}, which cannot be; {REMEDY}")
    check_distinct(header["class_names"], path)
    class_names, names = tuple(header["class_names"]), tuple(header["names"])
    parts = _parts(header["parts"], len(class_names), path)
    return PreparedParts(path, labels.copy(), ends.copy(), class_names, parts, names, header["listed"])


def _parts(stored: list[Any], classes: int, path: Path) -> Parts:
    try:
        names, of_class = stored
        parts = Parts(tuple(names), tuple(map(tuple, of_class)))
    except (TypeError, ValueError) as error:
        raise PccloraError(f"{path}: what its classes are made of cannot be so ({error}); {REMEDY}") from error
    if len(parts.of_class) != classes:
        raise PccloraError(f"{path}: the parts of {len(parts.of_class)} classes for {classes}; {REMEDY}")
    return parts
