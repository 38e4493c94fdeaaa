"""Points that are not where the surface is. Sources: see :mod:`pcclora.data.corruptions.table`."""

import numpy as np

from pcclora.data.corruptions.scene import Scene, any_of, in_cube, normal, share_of, signs, some
from pcclora.data.transforms import Draw, Points


def uniform(scene: Scene, reach: float, draw: Draw) -> Points:
    """Move every point along each axis by a uniform length up to ``reach``. ModelNet40-C."""
    return in_cube(scene.seen + reach * (2 * draw(scene.seen.size).reshape(-1, 3) - 1))


def gaussian(scene: Scene, std: float, draw: Draw) -> Points:
    """Move every point along each axis by a normal length, but not out of the cube of edge 2. ModelNet40-C."""
    return np.clip(scene.seen + std * normal(len(scene.seen), draw), -1, 1)


def impulse(scene: Scene, one_of: int, draw: Draw) -> Points:
    """Move one point of so many by 0.1 along each axis, to either side. ModelNet40-C."""
    points = scene.seen.copy()
    chosen = some(points, max(1, len(points) // one_of), draw)
    points[chosen] += 0.1 * signs(3 * len(chosen), draw).reshape(-1, 3)
    return in_cube(points)


def upsampling(scene: Scene, one_of: int, draw: Draw) -> Points:
    """Add to one point of so many another within 0.05 along each axis. ModelNet40-C."""
    added = scene.seen[some(scene.seen, max(1, len(scene.seen) // one_of), draw)]
    return in_cube(np.concatenate([scene.seen, added + 0.05 * (2 * draw(added.size).reshape(-1, 3) - 1)]))


def background(scene: Scene, one_of: int, draw: Draw) -> Points:
    """Add to so many points one anywhere in the cube of edge 2. ModelNet40-C."""
    return in_cube(np.concatenate([scene.seen, _in_cube(max(1, len(scene.seen) // one_of), draw)]))


def outliers(scene: Scene, count: int, draw: Draw) -> Points:
    """Add ``count`` points of 1,024 that a ray gave too far out: of the cloud, 1.3 to 1.6 times as far from its middle.

    UPP's "lidar noise" as its evaluation adds it, 48 points; the other numbers are ours.
    """
    added = any_of(scene.seen, share_of(scene.seen, count), draw)
    return np.concatenate([scene.seen, added * (1.3 + 0.3 * draw(len(added))[:, None])])


def shell(scene: Scene, count: int, draw: Draw) -> Points:
    """Add ``count`` points of 1,024 on a fuzzy sphere about the cloud: radius 0.9 and the length of a normal of 0.1.

    UPP's "Gaussian noise" as its training and its part segmentation add it, 24 points; the other numbers are ours.
    """
    offset = 0.1 * normal(share_of(scene.seen, count), draw)
    length = np.sqrt((offset**2).sum(axis=1, keepdims=True))
    return np.concatenate([scene.seen, offset * (1 + 0.9 / length)])


def _in_cube(count: int, draw: Draw) -> Points:
    return 2 * draw(3 * count).reshape(-1, 3) - 1
