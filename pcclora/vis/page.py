"""Objects as one web page: a single file that a browser opens without a network.

K3D (https://k3d-jupyter.org, MIT licence) draws the points as shaded balls. The page's own part is ``web/``: the switch
between the views, two of them side by side, the legend that hides parts, and what is told of the point under the
pointer. By its content security policy the page forbids itself to load anything from elsewhere.
"""

import base64
import gzip
import html
import json
import re
from collections.abc import Sequence
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.atomic import write_text
from pcclora.errors import PccloraError
from pcclora.extras import of_extra
from pcclora.runs.segmented import SegmentedCloud
from pcclora.text import visible
from pcclora.vis.camera import Camera
from pcclora.vis.page_object import describe, frame
from pcclora.vis.render import spacing
from pcclora.vis.tokens import Tokens
from pcclora.vis.views import views_of

SIZES = (0.004, 0.05)
"""Of a ball, in radii of the object; within them balls on a surface just about touch."""


def write_page(
    clouds: Sequence[SegmentedCloud],
    target: Path,
    *,
    title: str,
    captions: Sequence[str] = (),
    tokens: Tokens | None = None,
    camera: Camera | None = None,
    max_points: int = 200_000,
) -> None:
    """Write a page that shows objects: turned with the mouse, their parts hidden one by one, every point explained.

    Args:
        clouds: At least one; several get a chooser.
        target: The HTML file to write or replace.
        title: What the page is about.
        captions: None, or one an object; objects of one caption stand together in the chooser.
        tokens: How a model cuts the clouds, to see that too.
        camera: Where they are first seen from, and which axis is up; the page can turn another one up.
        max_points: Of an object with more points so many are drawn, chosen at random; its numbers are of all points.

    Raises:
        PccloraError: If there is no object, or K3D is not installed.
    """
    if not clouds:
        raise PccloraError(f"{target}: no object to show")
    k3d, camera = _import_k3d(), camera or Camera()
    plot = k3d.plot(
        menu_visibility=False, grid_visible=False, axes_helper=0, camera_auto_fit=False, camera_mode="orbit",
        camera_up_axis="none", camera_fov=camera.field, background_color=0xFFFFFF,
    )  # fmt: skip
    objects = []
    for number, cloud in enumerate(clouds):
        views = views_of(cloud, tokens=tokens, up=camera.up)
        kept = _drawn(len(cloud.points), max_points)
        points = _balls(k3d, cloud.points, kept)
        plot += points
        caption = visible(captions[number]) if captions else ""
        drawn = {"id": points.id, "size": points.point_size, "caption": caption}
        objects.append(drawn | describe(cloud, views, kept, camera))
    write_text(target, _filled(title, plot.get_binary_snapshot(), {"objects": objects, "up": f"+{camera.up}"}))


def _import_k3d() -> Any:
    with of_extra("html", "a web page"):
        return import_module("k3d")


def _drawn(count: int, most: int) -> NDArray[np.int64]:
    return np.arange(count) if count <= most else np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _balls(k3d: Any, points: NDArray[np.floating], kept: NDArray[np.int64]) -> Any:
    """The drawn points in the unit sphere; the script colours them."""
    centre, radius = frame(points)
    positions = (points[kept] - centre) / radius
    size = float(np.clip(1.2 * spacing(positions), *SIZES))
    return k3d.points(positions.astype(np.float32), colors=np.zeros(len(kept), np.uint32), point_size=size, shader="3d")


def _filled(title: str, points: bytes, details: dict[str, Any]) -> str:
    """The template with everything in it; what is large is compressed, and unpacked by the browser."""
    k3d = resources.files("k3d") / "static"
    pieces = {
        "TITLE": html.escape(visible(title)),
        "STYLE": _own("page.css"),
        "SCRIPT": _own("page.js"),
        "LIBRARY": _zipped((k3d / "standalone.js").read_bytes()),
        "LICENCE": (k3d / "standalone.js.LICENSE.txt").read_text(encoding="utf-8"),
        "POINTS": base64.b64encode(points).decode(),
        "DETAILS": _zipped(json.dumps(details, allow_nan=False).encode()),
    }
    return re.sub("__([A-Z]+)__", lambda name: pieces[name[1]], _own("page.html"))


def _own(name: str) -> str:
    return (resources.files("pcclora.vis") / "web" / name).read_text(encoding="utf-8").rstrip("\n")


def _zipped(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
