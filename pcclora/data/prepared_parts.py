"""One memory-mapped file a split for clouds of several lengths with part labels: all points one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import FloatArray, IntArray, Parts
from pcclora.data.prepared import read_header, write_tensors

_FORMAT = "pcclora parts 1"


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

            file: Any = safe_open(self.path, framework="np")
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
    tensors, header = read_header(path, ("labels", "ends"), ("class_names", "parts", "names", "listed"), _FORMAT)
    part_names, of_class = header["parts"]
    parts = Parts(tuple(part_names), tuple(map(tuple, of_class)))
    return PreparedParts(
        path,
        tensors["labels"],
        tensors["ends"],
        tuple(header["class_names"]),
        parts,
        tuple(header["names"]),
        header["listed"],
    )
