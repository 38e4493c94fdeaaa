"""What a sensor at one place sees. Sources: see :mod:`pcclora.data.corruptions.table`.

ModelNet40-C renders the depth of meshes. A cloud has none, so here a coarse depth image of all its stored points says
which of them are seen: that is ours. The five severities are, as there, five sectors about the object, in no order.
"""

import numpy as np

from pcclora.data.corruptions.scene import USUAL, Scene, any_of, in_cube
from pcclora.data.sets.programs.scan import CELL, DRAWN, depth_behind
from pcclora.data.transforms import Draw, Points

LIDAR_DISTANCE, LIDAR_ELEVATION = 5.0, np.pi / 8
LIDAR_SHARE = 0.75
"""768 of 1,024 points."""


def occlusion(scene: Scene, sector: int, draw: Draw) -> Points:
    """Keep what is seen from 30 to 60 degrees above the horizon; points repeat where these are too few."""
    view = _direction(sector, np.pi / 6 * (1 + draw(1)[0]), draw)
    return in_cube(any_of(_seen(scene.stored, view), len(scene.seen), draw))


def lidar(scene: Scene, sector: int, draw: Draw) -> Points:
    """Keep what a LiDAR sees from 22.5 degrees above, at a distance of 5: in lines, one a degree of elevation.

    A line takes what is within a quarter of a degree of it. Three quarters of the points are left, some of them several
    times.
    """
    view = _direction(sector, LIDAR_ELEVATION, draw)
    seen = _seen(scene.stored, view)
    lines = _on_lines(seen - LIDAR_DISTANCE * view) + LIDAR_DISTANCE * view
    count = max(1, round(LIDAR_SHARE * len(scene.seen)))
    return any_of(lines if len(lines) else seen, count, draw)


def _direction(sector: int, elevation: float, draw: Draw) -> Points:
    turn = np.pi / 5 * (2 * sector + 2 * draw(1)[0] - 1)
    return np.array([np.cos(elevation) * np.cos(turn), np.sin(elevation), np.cos(elevation) * np.sin(turn)])


def _seen(points: Points, view: Points) -> Points:
    cell = CELL * np.sqrt(DRAWN * USUAL / len(points))  # as many points in a cell as where it was chosen
    hidden = depth_behind(points, view, cell=float(np.clip(cell, CELL, 0.5)))
    return np.asarray(points[hidden == 0])


def _on_lines(points: Points) -> Points:
    """Return those of points (M, 3), seen from the origin, that are near a line, on it."""
    x, y, z = points.T
    across, length = np.hypot(x, z), np.sqrt((points**2).sum(axis=1))
    angle, degree = np.arctan2(across, y), np.pi / 180
    line = np.floor((angle - angle.min()) / degree)
    off = (angle - angle.min()) / degree - line
    polar = angle.min() + (line + 0.5) * degree
    out = np.sin(polar) * length / across
    kept = (off >= 0.25) & (off < 0.75)
    return np.asarray(np.stack([out * x, np.cos(polar) * length, out * z], axis=1)[kept])
