"""The words of a window: the object, the view, its legend, and the keys that do something, as one picture."""

import numpy as np
from numpy.typing import NDArray

from pcclora.vis.canvas import Canvas
from pcclora.vis.palette import GREY
from pcclora.vis.views import figures_of, title_lines
from pcclora.vis.window_meshes import SHOWN
from pcclora.vis.window_state import WindowState

WIDTH, MARGIN, LINE = 280, 22, 23
"""Of the picture, of its margin, and the height of a line, in pixels."""


def draw_panel(state: WindowState) -> NDArray[np.uint8]:
    """Draw what a window says.

    Args:
        state: What it shows.

    Returns:
        (H, W, 3).
    """
    cloud, view, keys = state.cloud, state.view, state.help()
    total = len(cloud.points)
    shown = [f"{SHOWN:,} of {total:,} points are drawn"] if total > SHOWN else []
    facts = [*title_lines(cloud, width=32), *shown, *figures_of(cloud)]
    canvas = Canvas(WIDTH, 2 * MARGIN + LINE * (4 + len(facts) + len(view.legend) + len(keys)))
    place = f"  ({state.number + 1} of {len(state.clouds)})" if len(state.clouds) > 1 else ""
    canvas.text(MARGIN, MARGIN, cloud.category + place, size=8.5, bold=True)
    y = float(MARGIN)
    for words in facts:
        y += LINE
        canvas.text(MARGIN, y, words, size=6.5, colour=GREY)
    y += 2 * LINE
    canvas.text(MARGIN, y, view.name, size=7.5, bold=True)
    canvas.legend(MARGIN, y + LINE * (len(view.legend) + 1) / 2, view.legend, size=7)
    y += LINE * (len(view.legend) + 1)
    for key, what in keys:
        y += LINE
        canvas.text(MARGIN, y, key, size=6.5, bold=True, colour=GREY)
        canvas.text(MARGIN + LINE, y, what, size=6.5, colour=GREY)
    pixels = canvas.pixels()
    pixels[-1], pixels[:, -1] = 225, 225  # where an object goes on behind it
    return pixels
