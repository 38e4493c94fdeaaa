"""What a corruption is given, and what several of them do."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcclora.data.transforms import Draw, Points

USUAL = 1024
"""Points of the clouds that the sources' counts are for; of other clouds it is the same share."""


class Scene(NamedTuple):
    """One object, y up, in the unit sphere.

    Attributes:
        seen: (N, 3) float64, the points that a model would see.
        stored: (M, 3) float64, all that there are.
    """

    seen: Points
    stored: Points


Change = Callable[[Scene, Any, Draw], Points]
"""(object, what the severity means, randomness) -> points; how many depends on N and the severity alone."""


def share_of(points: Points, count: int) -> int:
    """Return how many of these points are ``count`` of 1,024; of very few points it may be none."""
    return round(count * len(points) / USUAL)


def signs(count: int, draw: Draw) -> Points:
    """Return numbers (count,) that are 1 or -1."""
    return np.where(draw(count) < 0.5, -1.0, 1.0)


def normal(count: int, draw: Draw) -> Points:
    """Return points (count, 3) of a standard normal distribution."""
    radius, angle = draw(6 * count).reshape(2, count, 3)
    return np.asarray(np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle))  # Box and Muller, as in transforms


def some(points: Points, count: int, draw: Draw) -> NDArray[np.int64]:
    """Return ``count`` places of points, none twice."""
    return np.argsort(draw(len(points)), kind="stable")[:count]


def any_of(points: Points, count: int, draw: Draw) -> Points:
    """Return ``count`` of the points, drawn without repeating one; more than there are repeat at random."""
    if count <= len(points):
        return points[some(points, count, draw)]
    return points[(draw(count) * len(points)).astype(np.int64)]


def nearest(points: Points, count: int, draw: Draw) -> NDArray[np.int64]:
    """Return the places of the ``count`` points about one of them that is drawn, itself among them."""
    offset = points - points[int(draw(1)[0] * len(points))]
    return np.argsort((offset**2).sum(axis=1), kind="stable")[:count]


def in_cube(points: Points) -> Points:
    """Put the middle of the bounding box at the origin and scale its longest edge to 2, as ModelNet40-C does."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - (low + high) / 2) * (2 / ((high - low).max() or 1.0)))
