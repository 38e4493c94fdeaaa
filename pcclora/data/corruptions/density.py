"""Points that are missing, or too many in places. Sources: see :mod:`pcclora.data.corruptions.table`."""

import numpy as np

from pcclora.data.corruptions.noise import outliers, shell
from pcclora.data.corruptions.scene import Scene, nearest, share_of, some
from pcclora.data.transforms import Draw, Points


def density_dec(scene: Scene, patches: int, draw: Draw) -> Points:
    """Take three of four points out of ``patches`` patches of 100 points of 1,024. ModelNet40-C."""
    points, size = scene.seen, share_of(scene.seen, 100)
    for _ in range(patches):
        patch = nearest(points, size, draw)
        points = np.delete(points, patch[some(points[patch], int(0.75 * size), draw)], axis=0)
    return points


def density_inc(scene: Scene, patches: int, draw: Draw) -> Points:
    """Take ``patches`` patches of 100 points of 1,024 as densely as they are stored, and fill up with others at random.

    ModelNet40-C, whose clouds are stored with twice the points. Where they are not, only the others get thinner.
    """
    rest, kept, count = scene.stored, [], len(scene.seen)
    size = share_of(rest[:count], 100)
    for _ in range(patches):
        patch = nearest(rest, size, draw)
        kept.append(rest[patch])
        rest = np.delete(rest, patch, axis=0)
    others = rest[(draw(count - patches * size) * len(rest)).astype(np.int64)]
    return np.concatenate([*kept, others])


def cutout(scene: Scene, holes: int, draw: Draw) -> Points:
    """Cut out ``holes`` holes of 30 points of 1,024. ModelNet40-C."""
    points, size = scene.seen, share_of(scene.seen, 30)
    for _ in range(holes):
        points = np.delete(points, nearest(points, size, draw), axis=0)
    return points


def dropout_global(scene: Scene, share: float, draw: Draw) -> Points:
    """Drop this share of the points, anywhere. ModelNet-C."""
    return scene.seen[some(scene.seen, max(1, int(len(scene.seen) * (1 - share))), draw)]


def dropout_local(scene: Scene, count: int, draw: Draw) -> Points:
    """Drop ``count`` points of 1,024 in one to seven holes, each point of any of them alike. ModelNet-C."""
    points, total = scene.seen, share_of(scene.seen, count)
    holes = 1 + int(7 * draw(1)[0])
    for size in np.bincount((draw(total) * holes).astype(np.int64), minlength=holes):
        points = np.delete(points, nearest(points, size, draw), axis=0)
    return points


def crop(scene: Scene, share: float, draw: Draw) -> Points:
    """Take away the share of the points that is nearest to a point of the unit sphere.

    UPP takes 25 %, of all points that are stored; the other shares are ours.
    """
    height, turn = 2 * draw(1)[0] - 1, 2 * np.pi * draw(1)[0]
    across = np.sqrt(1 - height**2)
    offset = scene.seen - [across * np.cos(turn), height, across * np.sin(turn)]
    order = np.argsort((offset**2).sum(axis=1), kind="stable")
    return scene.seen[np.sort(order[int(share * len(order)) :])]


def upp(scene: Scene, level: tuple[float, int, int], draw: Draw) -> Points:
    """Crop a share, then add outliers and a shell of so many points of 1,024: UPP's noisy and incomplete clouds.

    The third severity has UPP's own numbers (25 %, 48, 24); the others are ours.
    """
    share, far, near = level
    points = crop(scene, share, draw)
    added = [change(scene._replace(seen=points), count, draw) for change, count in ((outliers, far), (shell, near))]
    return np.concatenate([points, *(cloud[len(points) :] for cloud in added)])
