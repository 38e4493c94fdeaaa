"""What the columns of a table of points are: as the user names them, as a header does, or by what they hold."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.readers.scan import whole
from pcclora.errors import PccloraError, did_you_mean

SKIPPED = "_"
"""The name of a column that is left out."""
_LONG = {"r": "red", "g": "green", "b": "blue", "i": "intensity"}
_NAMES = ("x", "y", "z", "r", "g", "b", "red", "green", "blue", "i", "intensity", "nx", "ny", "nz", "label", SKIPPED)
_HEADER = {
    **_LONG,
    **{
        f"{point}{mark}{axis}": "xyz"[axis] for point in ("point", "points") for mark in (":", "_") for axis in range(3)
    },
    **{f"{color}f": _LONG[color] for color in "rgb"},  # CloudCompare's fractions of 1
}
_XYZ = ("x", "y", "z")
_RGB = ("red", "green", "blue")
_NORMAL = ("nx", "ny", "nz")
_TRIPLE = "triple"
_FEW_LABELS = 16
"""Labels below this may stand in a cloud of any size."""
_MANY_LABELS = 50
"""Parts of ShapeNetPart over all categories: as many labels are met in one file, but not by every fourth point."""

# What may follow x y z, by the number of columns; the first that fits is taken.
_LAYOUTS: dict[int, tuple[tuple[str, ...], ...]] = {
    3: ((),),
    4: (("label",), ("intensity",)),
    6: ((_TRIPLE,),),
    7: ((_TRIPLE, "label"), ("intensity", _TRIPLE)),
    8: (("intensity", _TRIPLE, "label"),),
    9: ((_TRIPLE, _TRIPLE),),
    10: ((_TRIPLE, _TRIPLE, "label"), ("intensity", _TRIPLE, _TRIPLE)),
    11: (("intensity", _TRIPLE, _TRIPLE, "label"),),
}
_said: set[str] = set()


def named_by_user(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of the columns that a user names.

    Args:
        columns: One name a column: x y z, r g b, i or intensity, nx ny nz, label; ``_`` for one that is left out.

    Raises:
        PccloraError: If a name is unknown or comes twice, or if x, y, z or a part of a colour or normal is missing.
    """
    place = f"columns {' '.join(map(str, columns))}"
    if isinstance(columns, str):
        raise PccloraError(f"columns is the text '{columns}'; a list of names is needed: {columns.split()}")
    names = [str(name).lower() for name in columns]
    for name in names:
        if name not in _NAMES:
            raise PccloraError(f"{place}: unknown name '{name}'{did_you_mean(name, _NAMES)}")
    full = [_LONG.get(name, name) for name in names]
    twice = sorted({name for name in full if name != SKIPPED and full.count(name) > 1})
    if twice:
        raise PccloraError(f"{place}: '{twice[0]}' comes twice; call a column that is left out '{SKIPPED}'")
    for group, needed in ((_XYZ, True), (_RGB, False), (_NORMAL, False)):
        missing = [name for name in group if name not in full]
        if missing and (needed or len(missing) < 3):
            raise PccloraError(f"{place}: '{missing[0]}' is missing; {', '.join(group)} go together")
    return tuple(full)


def named_by_header(cells: Sequence[str], columns: int) -> tuple[str, ...] | None:
    """Return the names of columns that the line above a table gives, or None where it does not name x, y and z.

    Args:
        cells: The words of that line, without separators.
        columns: Columns of the table.
    """
    bare = [re.sub(r"[\[(].*", "", cell.strip().strip("\"'")).strip().lower() for cell in cells]  # units in brackets
    names = [_HEADER.get(name, name) or SKIPPED for name in bare]
    known = [name for name in names if name in (*_XYZ, *_RGB, *_NORMAL)]
    if len(names) != columns or len(set(known)) < len(known) or not set(_XYZ) <= set(known):
        return None
    return tuple(names)


def guessed(table: NDArray[Any], what: str, *, counted: bool = False) -> tuple[str, ...]:
    """Return what columns without names hold, by their number and their values; said once for each layout.

    ``docs/formats.md`` has the rules.

    Args:
        table: (N, 3 or more).
        what: ``"text"`` or ``"array"``, for the warning.
        counted: The number of points stands above them, as in Leica's pts: intensity comes first, and labels never.
    """
    columns = table.shape[1]
    fits = (_fit(table, parts, counted) for parts in _LAYOUTS.get(columns, ()))
    rest = next((found for found in fits if found is not None), ())
    if not rest and columns > 6:
        rest = _triple(table[:, 3:6]) or ()
    names = (*_XYZ, *rest, *[SKIPPED] * (columns - 3 - len(rest)))
    if columns > 3:
        _say(f"{what} of {columns} columns: read as {' '.join(names)}; name them by columns=... where they are others")
    return names


def _fit(table: NDArray[Any], parts: tuple[str, ...], counted: bool) -> tuple[str, ...] | None:
    """Return the names of the columns after z if these parts can be there, else None."""
    names: tuple[str, ...] = ()
    for part in parts:
        at = 3 + len(names)
        if part == _TRIPLE:
            triple = _triple(table[:, at : at + 3])
            if triple is None or set(triple) & set(names):
                return None
            names += triple
        elif part == "label" and (counted or not _are_labels(table[:, at])):
            return None
        else:
            names += (part,)
    return names


def _triple(values: NDArray[Any]) -> tuple[str, ...] | None:
    """Return whether three columns (N, 3) are a normal or a colour, by name, or None."""
    if not np.isfinite(values).all():
        values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        return None
    lengths = np.linalg.norm(values, axis=1)
    some = lengths > 0
    if some.any() and (np.abs(lengths[some] - 1) < 0.02).mean() > 0.95:
        return _NORMAL
    if values.min() < 0 or values.max() > 255 or not values.any():
        return None
    return _RGB if values.max() <= 1 or whole(values) is not None else None


def _are_labels(values: NDArray[Any]) -> bool:
    """Return whether a column can be of labels: whole numbers from 0, and few of them."""
    labels = whole(values[np.isfinite(values)])
    if labels is None or not len(labels) or labels.max() >= _MANY_LABELS:
        return False
    return bool(labels.max() < _FEW_LABELS or 4 * len(np.unique(labels)) <= len(labels))


def _say(message: str) -> None:
    if message not in _said:
        _said.add(message)
        warnings.warn(message, stacklevel=2)
