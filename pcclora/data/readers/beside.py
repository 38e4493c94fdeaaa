"""What a file says of a point beside its place and label: colours as a picture has them, and features for a model."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import FloatArray
from pcclora.data.features import unit
from pcclora.errors import PccloraError

Fields = Mapping[str, NDArray[Any]]
"""Name, in small letters -> a value for each point."""

_NAMES = {
    "rgb": (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b")),
    "normal": (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"), ("normalx", "normaly", "normalz")),
    "intensity": (("intensity",), ("i",), ("reflectance",)),
}
"""Feature -> what its numbers may be called; the first that are all there count."""
UNDERSTOOD = frozenset(name for ways in _NAMES.values() for names in ways for name in names)
"""All of these names."""
FOR_MODELS = UNDERSTOOD - {name for names in _NAMES["rgb"] for name in names}
"""Those that nothing asks for but a model."""


def colors_of(fields: Fields) -> NDArray[Any] | None:
    """Return the colours (N, 3), of whatever numbers they are, or None."""
    return _values("rgb", fields)


def has_feature(name: str, fields: Fields) -> bool:
    """Return whether all numbers of a feature are there."""
    return _values(name, fields) is not None


def bytes_of(colors: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Return colours (N, 3) of 8 or 16 bits, or fractions of 1, as bytes; None where they are others."""
    if colors.dtype.kind not in "fiu" or not np.isfinite(colors).all() or colors.min() < 0 or colors.max() > 65535:
        return None
    if colors.dtype.kind == "f" and colors.max() <= 1:
        colors = colors * 255
    eight_bits = colors // 256 if colors.max() > 255 else np.rint(colors)
    return np.asarray(eight_bits, dtype=np.uint8)


def features_of(fields: Fields, names: Sequence[str], place: object) -> FloatArray:
    """Return the features of all points, side by side in the order of ``names``.

    Args:
        fields: Name -> (N,).
        names: Of :data:`pcclora.data.features.FEATURES`.
        place: The file, for messages.

    Returns:
        (N, C): colours as fractions of 1; normals at length 1, or 0 where there is none, which a warning counts;
        intensity as a fraction of the largest of the file, because every scanner has a unit of its own.

    Raises:
        PccloraError: If one is not there, or has values that it cannot have.
    """
    found = {name: _values(name, fields) for name in names}
    missing = [name for name, values in found.items() if values is None]
    if missing:
        there = [name for name in _NAMES if has_feature(name, fields)]
        wanted = " ".join(_NAMES[missing[0]][0])
        raise PccloraError(
            f"{place}: has no {missing[0]} ({wanted}), which data.features asks for; it has "
            f"{' and '.join(there) or 'none of ' + ', '.join(_NAMES)}. Name the columns of a table by data.columns, "
            f"write {missing[0]} into the file, or train without"
        )
    columns = [_READ[name](values, place) for name, values in found.items() if values is not None]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _values(feature: str, fields: Fields) -> NDArray[Any] | None:
    for names in _NAMES[feature]:
        if all(name in fields for name in names):
            return np.stack([fields[name].reshape(-1) for name in names], axis=1)
    return None


def _colors(values: NDArray[Any], place: object) -> NDArray[np.float64]:
    colors = bytes_of(values)
    if colors is None:
        raise PccloraError(f"{place}: its rgb has others than 0 to 255, 0 to 65535 or fractions of 1")
    return colors / 255


def _normals(values: NDArray[Any], place: object) -> NDArray[np.float64]:
    normals = unit(np.where(np.isfinite(values).all(axis=1, keepdims=True), values, 0).astype(np.float64))
    none = int((~normals.any(axis=1)).sum())
    if none == len(normals):
        raise PccloraError(f"{place}: every normal is 0 or not finite; estimate them, or leave normal out of features")
    if none:
        warnings.warn(f"{place}: {none} of {len(normals)} normals are 0 or not finite and taken as none", stacklevel=2)
    return normals


def _intensities(values: NDArray[Any], place: object) -> NDArray[np.float64]:
    if not np.isfinite(values).all() or values.min() < 0:
        raise PccloraError(f"{place}: its intensity has values that are negative or not finite")
    return values / max(float(values.max()), np.finfo(np.float64).tiny)


_READ: dict[str, Callable[[NDArray[Any], object], NDArray[np.float64]]] = {
    "rgb": _colors,
    "normal": _normals,
    "intensity": _intensities,
}
