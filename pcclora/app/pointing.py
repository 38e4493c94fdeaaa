"""What a person means who points into the picture: which of the points under a click or a rectangle can be seen.

The camera is viser's: it looks along its z axis, y down; places in the picture go from (0, 0) top left to (1, 1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from pcclora.data.base import FloatArray

Place = tuple[float, float]
_MOST_CELLS = 400
"""Cells of the depth picture along its height."""
_NEAR = 0.03
"""How far from a click, in heights of the picture, a point is still meant."""


@dataclass(frozen=True)
class Eye:
    """Where the browser looks from.

    Attributes:
        position: (3,) in the scene.
        wxyz: (4,) unit quaternion, from the camera's axes to the scene's.
        fov: Vertical opening angle in radians.
        aspect: Width of the picture over its height.
    """

    position: NDArray[np.float64]
    wxyz: NDArray[np.float64]
    fov: float
    aspect: float

    def project(self, points: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the places (n, 2) in the picture and the depths (n,) of points (n, 3); those behind have none."""
        seen = (points - self.position) @ Rotation.from_quat(self.wxyz, scalar_first=True).as_matrix()
        depth = seen[:, 2]
        half = np.tan(self.fov / 2) * np.array([self.aspect, 1.0])
        with np.errstate(divide="ignore", invalid="ignore"):
            places = 0.5 + seen[:, :2] / (2 * half * depth[:, None])
        return np.where(depth[:, None] > 0, places, np.inf), depth


def visible_points(eye: Eye, points: FloatArray, spacing: float) -> NDArray[np.bool_]:
    """Return which points (n,) no nearer one hides, by a coarse picture of depths.

    Args:
        eye: The camera.
        points: (n, 3) in the scene.
        spacing: Typical distance between neighbours: a surface is thought to have no holes of this size.
    """
    places, depth = eye.project(points)
    inside = (depth > 0) & (places >= 0).all(axis=1) & (places <= 1).all(axis=1)
    shown = np.zeros(len(points), bool)
    if not inside.any():
        return shown
    distance = float(np.median(depth[inside]))
    cell = max(1.5 * spacing / (2 * np.tan(eye.fov / 2) * distance), 1 / _MOST_CELLS)
    rows, columns = int(np.ceil(1 / cell)) + 3, int(np.ceil(eye.aspect / cell)) + 3
    at = (places[inside] * [eye.aspect, 1.0] / cell).astype(np.int64) + 1
    nearest = np.full((rows, columns), np.inf)
    for dx, dy in np.ndindex(3, 3):  # a point hides the cells around its own, too
        np.minimum.at(nearest, (at[:, 1] + dy - 1, at[:, 0] + dx - 1), depth[inside])
    thickness = 3 * spacing + 1.5 * cell * 2 * np.tan(eye.fov / 2) * distance  # of a surface that is seen aslant
    shown[inside] = depth[inside] <= nearest[at[:, 1], at[:, 0]] + thickness
    return shown


def in_rectangle(eye: Eye, points: FloatArray, spacing: float, low: Place, high: Place) -> NDArray[np.bool_]:
    """Return which points (n,) are seen within a rectangle of the picture.

    Args:
        eye: The camera.
        points: (n, 3) in the scene.
        spacing: See :func:`visible_points`.
        low: Its upper left corner.
        high: Its lower right corner.
    """
    places, _ = eye.project(points)
    within = np.asarray(((places >= low) & (places <= high)).all(axis=1))
    return within & visible_points(eye, points, spacing) if within.any() else within


def at_click(eye: Eye, points: FloatArray, place: Place) -> int | None:
    """Return the point that a click means: of those near its place the foremost, or None if there is none.

    Args:
        eye: The camera.
        points: (n, 3) in the scene.
        place: Of the click.
    """
    places, depth = eye.project(points)
    away = np.hypot((places[:, 0] - place[0]) * eye.aspect, places[:, 1] - place[1])
    closest = float(away.min(initial=np.inf))
    if not closest <= _NEAR:
        return None
    near = np.flatnonzero(away <= max(2 * closest, 0.3 * _NEAR))
    return int(near[depth[near].argmin()])
