"""Where a cloud is seen from: a perspective camera that turns about the up axis and fits the cloud into the frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import Axis
from pcclora.data.readers.up_axis import TURNS, check_axis, turn_upright
from pcclora.errors import PccloraError

FloatArray = NDArray[np.float64]
Size = tuple[int, int]

OBLIQUE = 35.0
"""Angle between the longest horizontal direction of a cloud and the picture, in degrees."""

MARGIN = 0.06
"""Share of the frame that stays free on each side."""


@dataclass(frozen=True)
class Camera:
    """A direction to look from; lengths are equal along all axes.

    Attributes:
        azimuth: Turn about the up axis, in degrees; None turns the cloud's longest horizontal direction
            35 degrees out of the picture, so that nothing is seen edge-on.
        elevation: Height above the horizon, in degrees.
        up: The axis of the cloud that is vertical; it is seen as the cloud turned to y up is.
        field: Opening angle of the shorter side of the frame, in degrees.
    """

    azimuth: float | None = None
    elevation: float = 22.0
    up: Axis = "y"
    field: float = 28.0

    def __post_init__(self) -> None:
        check_axis(self.up)
        if not 1 <= self.field <= 120:
            raise PccloraError(f"field is {self.field}; 1 to 120 degrees are needed")

    def focal(self, size: Size) -> float:
        """Return the focal length in pixels for a frame of ``size`` (width, height)."""
        return 0.5 * min(size) / float(np.tan(np.radians(self.field) / 2))

    def place(self, points: NDArray[np.floating], size: Size) -> FloatArray:
        """Return the points as the camera sees them, from the distance that fits them into the frame.

        Args:
            points: (N, 3), anywhere and of any scale.
            size: Width and height of the frame in pixels.

        Returns:
            Right, down and forward (N, 3), in units of the cloud's radius; forward is always positive.

        Raises:
            PccloraError: If there is no point, or one that is not finite.
        """
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise PccloraError(f"a cloud of shape {points.shape}: at least one point (N, 3) is needed to draw it")
        if not np.isfinite(points).all():
            raise PccloraError("a cloud with a coordinate that is NaN or infinite cannot be drawn")
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        centred = points - (low + high) / 2
        seen: FloatArray = centred @ self.rotation(points).T
        seen /= max(float(np.sqrt((seen**2).sum(axis=1).max())), np.finfo(np.float64).tiny)
        # From the distance d on for which |x| / (d + z) is the slope of the edge, a point at (x, y, z) is in the frame.
        slopes = (0.5 - MARGIN) * np.array(size) / self.focal(size)
        seen[:, 2] += max(float((np.abs(seen[:, :2]) / slopes - seen[:, 2:]).max()), 1.5)
        return seen

    def rotation(self, points: NDArray[np.floating]) -> FloatArray:
        """Return the (3, 3) rotation from the world to right, down, forward, for a cloud (N, 3)."""
        floor = turn_upright(points, self.up)[:, [2, 0]]
        azimuth = _oblique(floor) if self.azimuth is None else self.azimuth
        a, e = np.radians([azimuth, self.elevation])
        towards = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
        right = np.array([np.cos(a), 0.0, -np.sin(a)])
        seen = np.stack([right, -np.cross(towards, right), -towards])
        return np.asarray(seen @ TURNS[self.up])


def _oblique(floor: NDArray[np.floating]) -> float:
    """Return the azimuth that sees the longest direction of (N, 2) obliquely; of the four, the least turned."""
    (aa, ab), (_, bb) = np.cov(floor.T, bias=True)
    longest = np.degrees(0.5 * np.arctan2(2 * ab, aa - bb))  # from the first axis of the floor, which azimuth 0 faces
    options = longest + 90 + np.array([-OBLIQUE, OBLIQUE, 180 - OBLIQUE, 180 + OBLIQUE])
    turns = (options - OBLIQUE + 180) % 360 - 180
    return float(OBLIQUE + turns[np.abs(turns).argmin()])
