"""What a file says of a point beside its coordinates: a colour and a label, wherever the format keeps them."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import FloatArray, IntArray
from pcclora.data.readers.beside import FOR_MODELS, UNDERSTOOD, bytes_of, colors_of, features_of
from pcclora.data.readers.files import check_table
from pcclora.errors import PccloraError

LABEL_NAMES = ("label", "labels", "part", "parts", "part_label", "part_labels", "class", "pid")
"""What a property or an array of labels may be called, in any case; CloudCompare puts ``scalar_`` before it."""
_FEW_STEPS = 256
"""A cloud whose coordinates have no more steps than this along its longest side has lost its detail."""
_FEW_POINTS = 64
"""Fewer than these may stand on a coarse grid by chance."""
_FAR = 50
"""Times that coordinates are larger than the cloud, from which on rounding by their size is looked for."""


@dataclass(frozen=True)
class Scan:
    """The points of a file, in its order.

    Attributes:
        points: (N, 3) float64: map coordinates do not fit into float32 before they are centred.
        colors: (N, 3) uint8, or None where the file has none.
        labels: (N,) int64, or None where the file has none that are whole numbers from 0.
        features: (N, C) float32, what was asked for, or None for nothing.
    """

    points: NDArray[np.float64]
    colors: NDArray[np.uint8] | None = None
    labels: IntArray | None = None
    features: FloatArray | None = None

    @property
    def rows(self) -> NDArray[np.float64]:
        """Points with their features, (N, 3 + C)."""
        return self.points if self.features is None else np.concatenate([self.points, self.features], axis=1)


def scan_of_fields(
    points: NDArray[Any],
    fields: Mapping[str, NDArray[Any]],
    place: object,
    *,
    strict: bool = False,
    features: Sequence[str] = (),
) -> Scan:
    """Understand named values of each point, and leave out points that have no place.

    Args:
        points: (N, 3). Rows that are not finite, as depth cameras write them where they see nothing, are left out with
            their colours and labels; a warning counts them.
        fields: Name -> (N,); names are read in any case. ``red``, ``green``, ``blue`` are whole numbers of 8 bits, or
            of 16 bits as in LAS, or fractions of 1.
        place: The file, for messages.
        strict: Colours and labels were named by the user: what is none is an error, else it is left out.
        features: What is to be read beside them, of :data:`pcclora.data.features.FEATURES`.

    Raises:
        PccloraError: If the points are none, none is finite, there are not as many labels as points, or a feature is
            not there.
    """
    xyz = check_table(np.asarray(points), place)[:, :3].astype(np.float64)
    known = plain(fields)
    name = next((name for name in LABEL_NAMES if name in known), None)
    for what, values in list(known.items()):
        if values.size == len(xyz):
            continue
        if what in FOR_MODELS and not features:  # an archive may have the normals of something else
            del known[what]
            continue
        what = "labels" if what == name else what
        raise PccloraError(f"{place}: {values.size} {what} for {len(xyz)} points; one a point is needed")
    kept = _finite(xyz, place)
    if kept is not None:
        xyz, known = xyz[kept], {name: values[kept] for name, values in known.items()}
    warn_of_rounding(xyz, place)
    colors = colors_of(known)
    return Scan(
        xyz,
        None if colors is None else _bytes(colors, place, strict),
        None if name is None else _labels(known[name], place, strict),
        features_of(known, features, place) if features else None,
    )


def plain(fields: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the fields (N,) whose names mean something, by these."""
    known = {_plain(name): np.asarray(values).reshape(-1) for name, values in fields.items()}
    return {name: values for name, values in known.items() if name in UNDERSTOOD or name in LABEL_NAMES}


def has_labels(fields: Collection[str]) -> bool:
    """Return whether one of these names is that of labels."""
    return any(_plain(name) in LABEL_NAMES for name in fields)


def _plain(name: str) -> str:
    return name.lower().removeprefix("scalar_")


def whole(values: NDArray[Any]) -> IntArray | None:
    """Return values of any shape as int64 if all are whole numbers from 0, else None."""
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all() or (values < 0).any():
        return None
    return values.astype(np.int64) if (values == np.rint(values)).all() and (values < 2**62).all() else None


def _finite(xyz: NDArray[np.float64], place: object) -> NDArray[np.bool_] | None:
    """Return which rows have a place; None: all."""
    kept = np.asarray(np.isfinite(xyz).all(axis=1))
    if kept.all():
        return None
    if not kept.any():
        raise PccloraError(f"{place}: all {len(xyz)} points are NaN or infinite; none is left")
    count, first = int((~kept).sum()), int(kept.argmin())
    warnings.warn(
        f"{place}: {count} of {len(xyz)} points are NaN or infinite and left out, the first is point {first}",
        stacklevel=4,
    )
    return kept


@np.errstate(over="ignore", invalid="ignore")
def warn_of_rounding(xyz: NDArray[np.float64], place: object, *, float32: bool = False) -> None:
    """Say so where large map coordinates were stored as float32 or with few digits: what is left is a coarse grid.

    Args:
        xyz: (N, 3), finite.
        place: The file, for the message.
        float32: Speak of the steps of float32 alone: the corners of a mesh may be on a grid by design.
    """
    if len(xyz) < _FEW_POINTS:
        return
    longest = np.ptp(xyz, axis=0).max()
    coarsest = (0.0, "", 0, 0.0)
    for axis, values in zip("xyz", xyz.T, strict=True):
        largest = np.abs(values).max()
        if largest < _FAR * longest or not longest:
            continue
        distinct = np.unique(values)
        step = float(np.diff(distinct).min()) if len(distinct) > 1 else 0.0
        by_float32 = step <= 1.5 * np.spacing(np.float32(largest))
        if step * _FEW_STEPS >= longest and step < 1e-5 * largest and (by_float32 or not float32):
            coarsest = max(coarsest, (step, axis, len(distinct), largest))
    step, axis, count, largest = coarsest
    if step:
        warnings.warn(
            f"{place}: {axis} has {count} distinct values in {len(xyz)} points, in steps of {step:.3g}: coordinates as "
            f"large as {largest:,.0f} were rounded (float32, or too few digits); subtract an offset before they are "
            "written",
            stacklevel=4,
        )


def _labels(values: NDArray[Any], place: object, strict: bool) -> IntArray | None:
    labels = whole(values)
    if labels is None and strict:
        raise PccloraError(
            f"{place}: the column 'label' has others than whole numbers from 0; call it '_' if it is none"
        )
    return labels


def _bytes(colors: NDArray[Any], place: object, strict: bool) -> NDArray[np.uint8] | None:
    found = bytes_of(colors)
    if found is None and strict:
        raise PccloraError(f"{place}: the columns r g b have others than 0 to 255, 0 to 65535 or fractions of 1")
    return found
