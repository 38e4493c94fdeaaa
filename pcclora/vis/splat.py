"""Points as discs, nearest in front, in numpy: what draws where Open3D is not installed."""

import numpy as np
from numpy.typing import NDArray

from pcclora.vis.camera import FloatArray, Size

HELD = 1 << 22
"""Disc pixels that are held at a time: they bound the memory whatever the number of points is."""


def draw_splat(
    seen: FloatArray, colours: NDArray[np.uint8], *, size: Size, focal: float, radius: float
) -> tuple[FloatArray, FloatArray]:
    """Draw every point as a disc of the same size.

    Args:
        seen: (N, 3) right, down, forward, all inside the frame; from :meth:`Camera.place`.
        colours: (N, 3).
        size: Width W and height H in pixels.
        focal: Focal length in pixels.
        radius: Of a disc, in pixels.

    Returns:
        Colour (H, W, 3) from 0 to 1, and depth (H, W), infinite where no point is.
    """
    width, height = size
    reach = int(np.ceil(radius))
    stride = width + 2 * reach  # a border for discs at the edge
    column, row = np.floor(seen[:, :2] / seen[:, 2:] * focal + np.array(size) / 2).astype(np.int64).T + reach
    order = np.argsort(-seen[:, 2], kind="stable")  # the nearest are written last
    at = (row * stride + column)[order]
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    offsets = (y * stride + x)[x**2 + y**2 <= radius**2]
    which = np.full((height + 2 * reach) * stride, -1, np.int64)  # the point that is seen there
    step = max(1, HELD // len(offsets))
    for first in range(0, len(order), step):
        here = slice(first, first + step)
        which[(at[here, None] + offsets).ravel()] = np.repeat(order[here], len(offsets))
    which = which.reshape(-1, stride)[reach : reach + height, reach : reach + width]
    covered = which >= 0
    return np.where(covered[..., None], colours[which] / 255.0, 1.0), np.where(covered, seen[which, 2], np.inf)
