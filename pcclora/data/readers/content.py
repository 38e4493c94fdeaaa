"""What a reader finds in a file, before it is understood; and the surface of a mesh, sampled."""

import mmap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import IntArray
from pcclora.data.readers.scan import warn_of_rounding
from pcclora.errors import PccloraError

REMEDY = "check it in the program that wrote it"
_PIECE = 2**20
XYZ = ("x", "y", "z")
RGB = ("red", "green", "blue")
NORMAL = ("nx", "ny", "nz")


@dataclass(frozen=True)
class Content:
    """Points as a file has them.

    Attributes:
        points: (N, 3) of any type of number.
        fields: Name -> (N,) values.
        triangles: (F, 3) indices into the points; None for a cloud.
        named: The user said what the fields are.
        guessed: Nobody said it; it was taken from the values.
    """

    points: NDArray[Any]
    fields: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    triangles: IntArray | None = None
    named: bool = False
    guessed: bool = False


def content_of_columns(
    values: NDArray[Any], names: tuple[str, ...], *, named: bool = False, guessed: bool = False
) -> Content:
    """Return a table (N, C) whose columns have these names, x, y and z among them."""
    points = values[:, [names.index(axis) for axis in XYZ]]
    fields = {name: values[:, i] for i, name in enumerate(names) if name not in (*XYZ, "_")}
    return Content(points, fields, named=named, guessed=guessed)


@dataclass(frozen=True)
class Drawn:
    """Where points lie on a mesh.

    Attributes:
        corners: (N, 3) the vertices of the triangle of each.
        shares: (N, 2, 1) how far it is from the first towards the two others.
    """

    corners: IntArray
    shares: NDArray[np.float64]

    def of(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return what lies between the values (V, D) of the vertices, (N, D)."""
        a, *others = (values[corner].astype(np.float64) for corner in self.corners.T)
        return np.asarray(a + ((np.stack(others, axis=1) - a[:, None]) * self.shares).sum(axis=1))

    def normals(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Return the normals (N, 3) of the triangles, to the side from which their corners (V, 3) run left."""
        a, b, c = (points[corner].astype(np.float64) for corner in self.corners.T)
        return np.asarray(np.cross(b - a, c - a))


def sample_surface(points: NDArray[Any], triangles: IntArray, count: int, place: object) -> Drawn:
    """Draw points on a mesh, uniformly by area, always the same ones.

    Triangles with a corner that is not finite are left out; a warning counts them.

    Raises:
        PccloraError: If there is no surface.
    """
    points = np.asarray(points, dtype=np.float64)
    finite = np.isfinite(points).all(axis=1)
    warn_of_rounding(points[finite], place, float32=True)
    whole = finite[triangles].all(axis=1)
    if not whole.all():
        warnings.warn(
            f"{place}: {int((~whole).sum())} of {len(whole)} faces have a corner that is NaN or infinite and are left "
            "out",
            stacklevel=3,
        )
        triangles = triangles[whole]
    with np.errstate(over="ignore", invalid="ignore"):
        areas = np.cumsum(_areas(points, triangles))
    if not len(areas) or not 0 < areas[-1] < np.inf:
        raise PccloraError(f"{place}: the mesh has {len(whole)} faces and no area; {REMEDY}")
    rng = np.random.default_rng(0)
    corners = triangles[np.searchsorted(areas, rng.random(count) * areas[-1])]
    share = rng.random((count, 2, 1))
    return Drawn(corners, np.where(share.sum(axis=1, keepdims=True) > 1, 1 - share, share))  # back into the triangle


def _areas(points: NDArray[np.float64], triangles: IntArray) -> NDArray[np.float64]:
    """Return the area (F,) of each triangle; a piece at a time, for few of them are sampled."""
    areas = np.empty(len(triangles))
    for start in range(0, len(triangles), _PIECE):
        a, b, c = points[triangles[start : start + _PIECE]].swapaxes(0, 1)
        areas[start : start + _PIECE] = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas


def triangulated(corners: NDArray[Any], counts: IntArray, points: int, place: object) -> IntArray:
    """Cut polygons into fans of triangles.

    Args:
        corners: (K,) indices of points, face after face.
        counts: (F,) corners of each; faces of one or two have no area and vanish.
        points: Points that there are.
        place: The file, for messages.

    Returns:
        (T, 3).

    Raises:
        PccloraError: If a face names a point that is not there.
    """
    for wrong in (corners.min(initial=0), corners.max(initial=0)):
        if len(corners) and not 0 <= wrong < points:
            raise PccloraError(f"{place}: a face names vertex {wrong:.0f} of {points}; {REMEDY}")
    if (counts == 3).all():
        return corners.astype(np.int64, copy=False).reshape(-1, 3)
    fans = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, fans)
    turn = np.arange(fans.sum()) - np.repeat(np.cumsum(fans) - fans, fans)
    triangles: IntArray = corners[np.stack([first, first + turn + 1, first + turn + 2], axis=1)].astype(np.int64)
    return triangles


def mapped(path: Path) -> mmap.mmap:
    """Return the bytes of a file without taking memory for them.

    Raises:
        ValueError: If it is empty.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what a library says of a file: we say what is wrong with it ourselves."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def cut(found: int, promised: int, what: str, path: Path) -> PccloraError:
    """Return the error for a file that holds fewer of something than it declares."""
    return PccloraError(f"{path}: truncated, {found:,} of {promised:,} {what}; {REMEDY}")
