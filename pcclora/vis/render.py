"""One picture of a coloured cloud, without a display: depth-shaded discs on white.

Open3D or numpy finds which disc is seen at each pixel; all that makes the look is done here, once, so both look equal:
the frame is drawn twice as large, a disc behind an edge is darkened (eye-dome lighting: Boucheny, "Interactive
scientific visualization of large datasets", 2009), what is far pales a little, and the result is averaged down.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.vis.camera import Camera, FloatArray, Size
from pcclora.vis.offscreen import draw_open3d
from pcclora.vis.splat import draw_splat

Renderer = Literal["auto", "open3d", "splat"]
RENDERERS = {"open3d": draw_open3d, "splat": draw_splat}

OVERSAMPLING = 2

MESHED = 200_000
"""Points up to which ``auto`` takes Open3D: there a disc is a mesh, and a million of them take a gigabyte."""

FILL, RADII = 0.75, (1.0, 5.0)
"""Radius of a disc in spacings of the points, and its limits in pixels."""

EDGE, RIM, HAZE = 0.4, 0.12, 0.35
"""Darkening of what lies far behind an edge, darkening of the outline, and paling of the farthest point."""


def render_cloud(
    points: NDArray[np.floating],
    colours: NDArray[np.uint8],
    *,
    size: Size = (640, 480),
    camera: Camera | None = None,
    radius: float | None = None,
    renderer: Renderer = "auto",
) -> NDArray[np.uint8]:
    """Draw a cloud.

    Args:
        points: (N, 3), anywhere and of any scale; axes are equal, the frame is filled.
        colours: (N, 3).
        size: Width and height in pixels.
        camera: Where it is seen from; by default a little from above and from the side, y up.
        radius: Of a point, in pixels; by default so that a surface is just about closed.
        renderer: ``open3d``, ``splat`` (numpy alone), or ``auto``: Open3D where it works, for up to 200,000 points.

    Returns:
        (height, width, 3).

    Raises:
        PccloraError: If the cloud or an argument cannot be used, or the renderer asked for does not work here.

    Examples:
        >>> import numpy as np
        >>> from pcclora.vis import render_cloud
        >>> points = np.random.default_rng(0).normal(size=(500, 3))
        >>> render_cloud(points, np.full((500, 3), 90, np.uint8), size=(320, 240), renderer="splat").shape
        (240, 320, 3)
    """
    if renderer not in ("auto", *RENDERERS):
        raise PccloraError(f"renderer is '{renderer}'; auto, {', '.join(RENDERERS)} are known")
    if colours.shape != points.shape:
        raise PccloraError(f"{len(points)} points with colours of shape {colours.shape}: one r, g, b a point is needed")
    camera = camera or Camera()
    large = (OVERSAMPLING * size[0], OVERSAMPLING * size[1])
    seen, focal = camera.place(points, large), camera.focal(large)
    disc = OVERSAMPLING * radius if radius else _radius(seen, focal)
    colour, depth = _draw(renderer, seen, colours, large, focal, disc)
    shaded = _shade(colour, depth, reach=max(1, round(0.35 * disc)))
    averaged = shaded.reshape(size[1], OVERSAMPLING, size[0], OVERSAMPLING, 3).mean(axis=(1, 3))
    picture: NDArray[np.uint8] = (255 * averaged).round().astype(np.uint8)
    return picture


def _draw(
    renderer: Renderer, seen: FloatArray, colours: NDArray[np.uint8], size: Size, focal: float, radius: float
) -> tuple[FloatArray, FloatArray]:
    if renderer == "auto" and len(seen) > MESHED:
        renderer = "splat"
    if renderer != "auto":
        return RENDERERS[renderer](seen, colours, size=size, focal=focal, radius=radius)
    try:
        return draw_open3d(seen, colours, size=size, focal=focal, radius=radius)
    except PccloraError as error:  # not installed, or no EGL: the other one draws the same
        logger.debug("drawn without Open3D: %s", error)
        return draw_splat(seen, colours, size=size, focal=focal, radius=radius)


def spacing(points: FloatArray) -> float:
    """Return the distance between neighbouring points of a surface, as the median of a sample.

    Args:
        points: (N, 3) float64 around the origin.
    """
    from torch import from_numpy

    from pcclora.ops import knn_points

    K = min(4, len(points))  # itself and three others: on a plane the third is one mean spacing away
    probes = points[:: max(1, len(points) // 512)]
    dists = knn_points(from_numpy(probes)[None], from_numpy(points)[None], K=K).dists
    return float(dists[0, :, -1].sqrt().median())


def _radius(seen: FloatArray, focal: float) -> float:
    """Return the radius in pixels at which neighbouring discs of the surface just about touch."""
    smallest, largest = RADII
    touching = FILL * spacing(seen) * focal / float(np.median(seen[:, 2]))
    return min(max(touching, OVERSAMPLING * smallest), OVERSAMPLING * largest)


def _shade(colour: FloatArray, depth: FloatArray, *, reach: int) -> FloatArray:
    covered = np.isfinite(depth)
    if not covered.any():
        return colour
    near, far = depth[covered].min(), depth[covered].max()
    distance = np.where(covered, (depth - near) / (far - near + 1e-9), 1.2)  # the background lies behind all
    around = [np.roll(distance, shift, axis=axis) for axis in (0, 1) for shift in (-reach, reach)]
    nearest, farthest = np.minimum.reduce([distance, *around]), np.maximum.reduce(around)
    dark = EDGE * (1 - np.exp(-6 * (distance - nearest)))
    dark = np.maximum(dark, RIM * (farthest > 1.1))[..., None]
    haze = HAZE * distance[..., None]
    return np.where(covered[..., None], ((1 - haze) * colour + haze) * (1 - dark), 1.0)
