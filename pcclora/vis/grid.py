"""Objects side by side as one PNG: a panel each, under it what a run says of its class; nothing of parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora.errors import PccloraError
from pcclora.runs.segmented import ClassAnswer, SegmentedCloud
from pcclora.text import short, tail
from pcclora.vis.camera import Camera
from pcclora.vis.canvas import Canvas
from pcclora.vis.palette import BLACK, BLUE, GREY, WRONG
from pcclora.vis.render import Renderer, render_cloud
from pcclora.vis.views import answer_lines, views_of

COLUMNS = 6
PANEL = (300, 250)
"""Width and height of an object in pixels."""

TITLE, HEADING, LINE, MARGIN = 80, 66, 29, 30
"""Pixels: height of the title, of a heading and of a line of a caption, and what stays free."""

CAPTION = 3 * LINE + 12
"""Pixels under a panel: what is predicted, what it truly is, where it came from."""

FEWEST = 3
"""Columns whose width a page has at least, so that a title fits."""


@dataclass(frozen=True)
class Panel:
    """One object of a grid.

    Attributes:
        pixels: (H, W, 3), W that of :data:`PANEL`; all panels of a grid have one height.
        name: What it is, if no run says it.
        file: Where it came from.
        answer: What a run says of it.
    """

    pixels: NDArray[np.uint8]
    name: str
    file: str
    answer: ClassAnswer | None = None


def draw_clouds(
    sections: Mapping[str, Sequence[SegmentedCloud]],
    target: Path,
    *,
    title: str = "",
    camera: Camera | None = None,
    renderer: Renderer = "auto",
) -> None:
    """Draw clouds in rows of six, coloured by their own colours or by height.

    Args:
        sections: Heading -> its objects; see ``draw_grid``.
        target: The PNG to write or replace.
        title: Above all.
        camera: Where they are seen from; see :func:`pcclora.vis.render_cloud`.
        renderer: As in :func:`pcclora.vis.render_cloud`.

    Raises:
        PccloraError: If there is nothing to draw.
    """
    camera = camera or Camera()
    drawn = {heading: [_panel(cloud, camera, renderer) for cloud in clouds] for heading, clouds in sections.items()}
    draw_grid(drawn, target, title=title)


def draw_grid(sections: Mapping[str, Sequence[Panel]], target: Path, *, title: str = "") -> None:
    """Draw panels in rows of six.

    Args:
        sections: Heading -> its panels; a heading without panels says that there are none; an empty one is not drawn.
        target: The PNG to write or replace.
        title: Above all.

    Raises:
        PccloraError: If there is nothing to draw.
    """
    panels = [panel for own in sections.values() for panel in own]
    if not panels:
        raise PccloraError(f"{target}: nothing to draw; at least one object is needed")
    columns = min(COLUMNS, max(map(len, sections.values())))
    pitch, y = panels[0].pixels.shape[0] + CAPTION, TITLE if title else MARGIN
    rows = sum(-(-len(own) // columns) for own in sections.values())
    width = 2 * MARGIN + PANEL[0] * max(columns, FEWEST)
    canvas = Canvas(width, y + HEADING * sum(map(bool, sections)) + pitch * rows + MARGIN)
    canvas.text(MARGIN, TITLE / 2, short(title, width // 16), size=12, bold=True)
    for heading, own in sections.items():
        canvas.text(MARGIN, y + HEADING / 2, heading if own else f"{heading}: none", size=10.5, colour=GREY)
        y += HEADING if heading else 0
        for place, panel in enumerate(own):
            left, top = MARGIN + place % columns * PANEL[0], y + place // columns * pitch
            canvas.picture(left, top, panel.pixels)
            _draw_caption(canvas, left + PANEL[0] / 2, top + len(panel.pixels) + LINE / 2, panel)
        y += -(-len(own) // columns) * pitch
    canvas.save(target)


def _panel(cloud: SegmentedCloud, camera: Camera, renderer: Renderer) -> Panel:
    colours = next(iter(views_of(cloud, up=camera.up).values())).colours
    pixels = render_cloud(cloud.points, colours, size=PANEL, camera=camera, renderer=renderer)
    return Panel(pixels, cloud.category, cloud.title.split(", ")[-1], cloud.answer)


def _draw_caption(canvas: Canvas, x: float, y: float, panel: Panel) -> None:
    answer = panel.answer
    said = [panel.name] if answer is None else answer_lines(answer)
    colour = BLACK if answer is None or answer.truth is None else WRONG if answer.wrong else BLUE
    canvas.text(x, y, short(said[0], 24), size=9, bold=True, colour=colour, align="center")
    for line, words in enumerate(said[1:], start=1):
        canvas.text(x, y + LINE * line, short(words, 28), size=8, align="center")
    canvas.text(x, y + LINE * len(said), tail(panel.file, 34), size=6.5, colour=GREY, align="center")
