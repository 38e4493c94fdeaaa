"""The shapes and textures that ``procedural_images`` is made of: functions on a grid of coordinates, numpy only.

A silhouette is a signed distance (negative inside), exact or nearly so, so that an edge is smoothed over one pixel by
clipping it. Shapes lie in the unit disk, y points up. A texture gives, at each place, the share of a second colour.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]
Shape = Callable[[Grid, Grid], Grid]
Texture = Callable[[Grid, Grid, Grid], Grid]
"""Coordinates (u, v) in periods of the texture, and 64 uniform numbers, to shares in [0, 1]."""


def disk(x: Grid, y: Grid) -> Grid:
    """A filled circle."""
    return np.hypot(x, y) - 0.85


def ring(x: Grid, y: Grid) -> Grid:
    """A circle with a hole."""
    return np.abs(np.hypot(x, y) - 0.68) - 0.22


def crescent(x: Grid, y: Grid) -> Grid:
    """A circle without a smaller one at its side."""
    return np.maximum(np.hypot(x, y) - 0.9, 0.72 - np.hypot(x - 0.45, y))


def cross(x: Grid, y: Grid) -> Grid:
    """Two bars, one upright."""
    a, b = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(a - 0.27, b - 0.9), np.maximum(a - 0.9, b - 0.27))


def heart(x: Grid, y: Grid) -> Grid:
    """A square on its corner, with a half disk on each of its upper sides."""
    side, y = np.abs(x), y + 0.2
    diamond = (side + np.abs(y) - 0.68) * 0.7071
    return np.minimum(diamond, np.hypot(side - 0.34, y - 0.34) - 0.481)


def pointed(tips: int, inner: float) -> Shape:
    """Return a star, the first tip upwards; a polygon where ``inner`` is cos(pi / tips).

    Args:
        tips: How many.
        inner: Distance of the inner corners from the middle; that of the tips is 1.
    """
    half = np.pi / tips
    corner = inner * np.array([np.cos(half), np.sin(half)])
    along = corner - (1, 0)
    normal = np.array([along[1], -along[0]]) / np.hypot(*along)

    def distance(x: Grid, y: Grid) -> Grid:
        radius, angle = np.hypot(x, y), np.arctan2(x, y)
        folded = np.abs((angle + half) % (2 * half) - half)
        return np.asarray((radius * np.cos(folded) - 1) * normal[0] + radius * np.sin(folded) * normal[1])

    return distance


def plain(u: Grid, v: Grid, table: Grid) -> Grid:
    """One colour."""
    return np.zeros_like(u)


def striped(u: Grid, v: Grid, table: Grid) -> Grid:
    """Bands across u."""
    return _soft(np.sin(2 * np.pi * u))


def checked(u: Grid, v: Grid, table: Grid) -> Grid:
    """Squares in turn."""
    return _soft(2 * np.sin(np.pi * u) * np.sin(np.pi * v))


def dotted(u: Grid, v: Grid, table: Grid) -> Grid:
    """A grid of disks."""
    return _soft(4 * (0.33 - np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)))


def mottled(u: Grid, v: Grid, table: Grid) -> Grid:
    """Patches of irregular size: 64 numbers on a lattice, smoothed between them."""
    u, v = u / 0.55, v / 0.55  # as coarse as the other textures
    column, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    s, t = u - column, v - row
    s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
    corners = table.reshape(8, 8)
    left, right, low, high = column % 8, (column + 1) % 8, row % 8, (row + 1) % 8
    below = corners[low, left] * (1 - s) + corners[low, right] * s
    above = corners[high, left] * (1 - s) + corners[high, right] * s
    return np.clip(3 * (below * (1 - t) + above * t) - 1, 0, 1)


def _soft(wave: Grid) -> Grid:
    """Return 0 where a wave is low, 1 where it is high, and a slope of about a pixel between them."""
    return np.clip(0.5 + 1.5 * wave, 0, 1)


SHAPES: dict[str, Shape] = {
    "disk": disk,
    "square": pointed(4, np.cos(np.pi / 4)),
    "triangle": pointed(3, np.cos(np.pi / 3)),
    "star": pointed(5, 0.42),
    "ring": ring,
    "cross": cross,
    "crescent": crescent,
    "heart": heart,
}
TEXTURES: dict[str, Texture] = {
    "plain": plain,
    "striped": striped,
    "checked": checked,
    "dotted": dotted,
    "mottled": mottled,
}
