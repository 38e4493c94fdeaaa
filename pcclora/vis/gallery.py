"""Segmented objects as one PNG: a row an object, a column a view, the parts of each in a legend."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora.errors import PccloraError
from pcclora.metrics import part_ious
from pcclora.runs.segmented import SegmentedCloud
from pcclora.text import short
from pcclora.vis.camera import Camera
from pcclora.vis.canvas import Canvas
from pcclora.vis.palette import BLACK, GREY
from pcclora.vis.render import Renderer, render_cloud
from pcclora.vis.tokens import Tokens
from pcclora.vis.views import (
    ERRORS,
    ORDER,
    PREDICTION,
    TRUTH,
    Legend,
    View,
    figures_of,
    part_legend,
    title_lines,
    views_of,
)

PANEL = (480, 390)
"""Width and height of a view in pixels; what is empty above and below an object is cut off."""

LEAST, GAP = 250, 24
"""Height of a row at least, and what stays free above and below an object, in pixels."""

CAPTION, LEGEND, HEADING, LINE, MARGIN = 320, 350, 100, 33, 36
"""Pixels: width of the captions and of the legends, height of the headings and of a line, and what stays free."""


def draw_gallery(
    clouds: Sequence[SegmentedCloud],
    target: Path,
    *,
    captions: Sequence[str] = (),
    tokens: Tokens | None = None,
    camera: Camera | None = None,
    renderer: Renderer = "auto",
) -> None:
    """Draw objects below each other: ground truth, prediction, errors, as far as they are known.

    Args:
        clouds: At least one.
        target: The PNG to write or replace.
        captions: None, or one an object, above what is known of it; as ``best``, ``median``, ``worst``.
        tokens: How a model cuts the clouds, for a column that shows it.
        camera: Where they are seen from; see :func:`pcclora.vis.render_cloud`.
        renderer: As in :func:`pcclora.vis.render_cloud`.

    Raises:
        PccloraError: If there is nothing to draw.
    """
    camera = camera or Camera()
    rows = [views_of(cloud, tokens=tokens, up=camera.up) for cloud in clouds]
    found = {name: view for views in rows for name, view in views.items()}
    columns = {name: found[name] for name in ORDER if name in found}
    if not columns:
        raise PccloraError(f"{target}: nothing to draw; at least one object is needed")
    left = {name: CAPTION + PANEL[0] * place for place, name in enumerate(columns)}
    pictures = [_trimmed(cloud, views, camera, renderer) for cloud, views in zip(clouds, rows, strict=True)]
    drawn = [len(next(iter(own.values()))) for own in pictures]
    heights = [max(tall, LINE * (len(cloud.parts) + 2), LEAST) for tall, cloud in zip(drawn, clouds, strict=True)]
    right = CAPTION + PANEL[0] * len(columns)
    canvas = Canvas(right + LEGEND, HEADING + sum(heights) + MARGIN)
    for view in columns.values():
        _draw_heading(canvas, left[view.name] + PANEL[0] / 2, view)
    canvas.text(right + MARGIN, MARGIN, "parts, IoU" if ERRORS in columns else "parts", size=11, bold=True)
    for number, (cloud, own) in enumerate(zip(clouds, pictures, strict=True)):
        middle = HEADING + sum(heights[:number]) + heights[number] / 2
        _draw_caption(canvas, middle, cloud, captions[number] if captions else "")
        for name, picture in own.items():
            canvas.picture(left[name], middle - len(picture) / 2, picture)
        if cloud.truth is not None or cloud.prediction is not None:
            canvas.legend(right + MARGIN, middle, _scored_legend(cloud))
    canvas.save(target)


def _trimmed(
    cloud: SegmentedCloud, views: Mapping[str, View], camera: Camera, renderer: Renderer
) -> dict[str, NDArray[np.uint8]]:
    """The picture of each view, without what is empty above and below the object in all of them."""
    pictures = {
        name: render_cloud(cloud.points, view.colours, size=PANEL, camera=camera, renderer=renderer)
        for name, view in views.items()
    }
    rows = np.flatnonzero(np.stack([(picture < 255).any(axis=(1, 2)) for picture in pictures.values()]).any(axis=0))
    top, bottom = max(rows[0] - GAP, 0), rows[-1] + GAP
    return {name: picture[top:bottom] for name, picture in pictures.items()}


def _draw_heading(canvas: Canvas, x: float, view: View) -> None:
    """Write what a column shows; the parts differ from row to row and have their legend there."""
    canvas.text(x, MARGIN, view.name, size=11, bold=True, align="center")
    if view.name not in (TRUTH, PREDICTION):
        canvas.legend(x, MARGIN + LINE + 4, view.legend, size=8.5, columns=len(view.legend), align="center")


def _draw_caption(canvas: Canvas, middle: float, cloud: SegmentedCloud, caption: str) -> None:
    lines = [(caption, 11.0, True, BLACK)] if caption else []
    lines += [(short(cloud.category, 17), 11.0, not caption, BLACK)]
    lines += [(line, 8.0, False, GREY) for line in title_lines(cloud, width=24)]
    lines += [(line, 9.0, False, BLACK) for line in figures_of(cloud)]
    top = middle - LINE * (len(lines) - 1) / 2
    for number, (words, size, bold, colour) in enumerate(lines):
        canvas.text(MARGIN, top + LINE * number, words, size=size, bold=bold, colour=colour)


def _scored_legend(cloud: SegmentedCloud) -> Legend:
    """Return the parts, with the IoU of each where it is known."""
    legend = tuple((short(name, 17), colour) for name, colour in part_legend(cloud))
    if cloud.truth is None or cloud.prediction is None:
        return legend
    ious = part_ious(cloud.truth, cloud.prediction, cloud.parts)
    return tuple((f"{name}  {iou:.1%}", colour) for (name, colour), iou in zip(legend, ious, strict=True))
