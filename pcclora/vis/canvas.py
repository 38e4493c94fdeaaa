"""A page measured in pixels from its upper left corner, with pictures, text and legends, written as PNG."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pcclora.atomic import replacing
from pcclora.extras import of_extra
from pcclora.text import visible
from pcclora.vis.lettering import plain_text
from pcclora.vis.palette import BLACK
from pcclora.vis.views import Legend

DPI = 150
Align = Literal["left", "center"]


class Canvas:
    """An empty white page.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        with of_extra("vis", "a picture"):
            from matplotlib.figure import Figure  # no pyplot: no window system, no global state

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def picture(self, x: float, y: float, pixels: NDArray[np.uint8]) -> None:
        """Put a picture (H, W, 3) with its upper left corner at x, y; no pixel is resampled."""
        self.figure.figimage(pixels, round(x), round(self.height - y - len(pixels)), origin="upper")

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 9.0,
        bold: bool = False,
        colour: str = BLACK,
        align: Align = "left",
    ) -> None:
        """Write a line; its left end or its centre is at x, its middle at y."""
        weight = "bold" if bold else "normal"
        place = self._place(x, y)
        with plain_text():
            self.figure.text(
                *place, visible(words), size=size, weight=weight, color=colour, ha=align, va="center_baseline"
            )

    def legend(
        self, x: float, y: float, legend: Legend, *, size: float = 9.0, columns: int = 1, align: Align = "left"
    ) -> None:
        """Put a coloured dot and a name for each entry; the left end or the centre is at x, the middle at y."""
        from matplotlib.lines import Line2D

        dots = [
            Line2D(
                [], [], linestyle="", marker="o", markersize=0.78 * size, color=(r / 255, g / 255, b / 255), label=name
            )
            for name, (r, g, b) in legend
        ]
        with plain_text():
            self.figure.legend(
                handles=dots,
                loc="center left" if align == "left" else "center",
                bbox_to_anchor=self._place(x, y),
                ncols=columns,
                fontsize=size,
                frameon=False,
                handlelength=0.8,
                handletextpad=0.8,
                columnspacing=1.2,
                labelspacing=0.7,
                borderpad=0,
                borderaxespad=0,
            )

    def pixels(self) -> NDArray[np.uint8]:
        """Return the page, (height, width, 3)."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        agg: Any = FigureCanvasAgg(self.figure)
        with plain_text():
            agg.draw()
        return np.array(agg.buffer_rgba())[..., :3]

    def save(self, target: Path) -> None:
        """Write or replace the PNG."""
        with replacing(target) as temporary, plain_text():
            self.figure.savefig(temporary, format="png", dpi=DPI)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return x / self.width, 1 - y / self.height
