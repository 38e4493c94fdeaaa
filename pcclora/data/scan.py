"""What a file says of a point beside its coordinates: a colour and a label, wherever the format keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import IntArray
from pcclora.data.files import check_points
from pcclora.errors import PccloraError

LABEL_NAMES = ("label", "labels", "part", "parts", "part_label", "part_labels", "class", "pid")
"""What a property or an array of labels may be called, in any case; CloudCompare puts ``scalar_`` before it."""
LABEL_COLUMNS = (4, 7, 10)
"""Columns of a table whose last one is a label: x y z, then any of colour and normal, then the label."""


@dataclass(frozen=True)
class Scan:
    """The points of a file, in its order.

    Attributes:
        points: (N, 3) float64: map coordinates do not fit into float32 before they are centred.
        colors: (N, 3) uint8, or None where the file has none.
        labels: (N,) int64, or None where the file has none that are whole numbers from 0.
    """

    points: NDArray[np.float64]
    colors: NDArray[np.uint8] | None = None
    labels: IntArray | None = None


def scan_of_table(table: NDArray[Any], place: str) -> Scan:
    """Understand rows of numbers: x y z, then colour or normal or both, then perhaps a label.

    Columns four to six are a colour where all are whole numbers of 0 to 255 and any is above 1. A fourth, seventh or
    tenth column is a label where it holds whole numbers from 0.

    Args:
        table: (N, 3 or more).
        place: The file, for messages.

    Raises:
        PccloraError: If it is no table of numbers, or a coordinate is not finite.
    """
    table = check_points(table, place)
    beside = None if table.shape[1] < 6 else whole(table[:, 3:6])
    colors = beside.astype(np.uint8) if beside is not None and 1 < beside.max() <= 255 else None
    labels = whole(table[:, -1]) if table.shape[1] in LABEL_COLUMNS else None
    return Scan(table[:, :3].astype(np.float64), colors, labels)


def scan_of_fields(points: NDArray[Any], fields: Mapping[str, NDArray[Any]], place: str) -> Scan:
    """Understand named values of each point.

    Args:
        points: (N, 3).
        fields: Name -> (N,); names are read in any case. ``red``, ``green``, ``blue`` are whole numbers of 8 bits, or
            of 16 bits as in LAS, or fractions of 1.
        place: The file, for messages.

    Raises:
        PccloraError: If the points are none, a coordinate is not finite, or there are not as many labels as points.
    """
    xyz = check_points(np.asarray(points), place)[:, :3].astype(np.float64)
    known = {name.lower().removeprefix("scalar_"): values for name, values in fields.items()}
    rgb = [np.asarray(known[name]).reshape(-1) for name in ("red", "green", "blue") if name in known]
    colors = _bytes(np.stack(rgb, axis=1)) if len(rgb) == 3 else None
    name = next((name for name in LABEL_NAMES if name in known), None)
    labels = None if name is None else whole(np.asarray(known[name]).reshape(-1))
    for what, values in (("colours", colors), ("labels", labels)):
        if values is not None and len(values) != len(xyz):
            raise PccloraError(f"{place}: {len(values)} {what} for {len(xyz)} points; one a point is needed")
    return Scan(xyz, colors, labels)


def whole(values: NDArray[Any]) -> IntArray | None:
    """Return values of any shape as int64 if all are whole numbers from 0, else None."""
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all() or (values < 0).any():
        return None
    return values.astype(np.int64) if (values == np.rint(values)).all() else None


def _bytes(colors: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Return colours (N, 3) of 8 or 16 bits, or fractions of 1, as bytes."""
    if not colors.size or not np.isfinite(colors).all() or colors.min() < 0:
        return None
    if colors.dtype.kind == "f" and colors.max() <= 1:
        return np.asarray(np.rint(colors * 255), dtype=np.uint8)
    eight_bits = colors // 256 if colors.max() > 255 else colors
    return np.asarray(eight_bits, dtype=np.uint8)
