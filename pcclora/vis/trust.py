"""How far a classifier can be trusted, as PNG files: a heat map of corruptions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pcclora.text import visible
from pcclora.vis.plots import drawing


def draw_corruptions(held: Mapping[str, Any], target: Path, *, title: str) -> None:
    """Draw accuracy by corruption and severity as a heat map; the last row and column are means.

    Args:
        held: The entry ``corruptions`` of summary.json.
        target: The PNG to write or replace.
        title: Data set, model, adapter.
    """
    table = 100 * np.array(list(held["accuracy"].values()))
    table = np.vstack([table, table.mean(axis=0)])
    table = np.column_stack([table, table.mean(axis=1)])
    rows, columns = [*held["accuracy"], "mean"], [*map(str, held["severities"]), "mean"]
    with drawing(target, 2.8 + 0.62 * len(columns), 1.7 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.imshow(table, cmap="viridis", vmin=0, vmax=100, aspect="auto")
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        for (row, column), value in np.ndenumerate(table):
            shade = "black" if value > 60 else "white"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=9, color=shade)
        axes.axhline(len(rows) - 1.5, color="white", linewidth=2.5)
        axes.axvline(len(columns) - 1.5, color="white", linewidth=2.5)
        axes.set_xlabel("severity")
        axes.tick_params(length=0)
        mean = f"mean {held['mean']:.1%}, {held['relative']:.1%} of clean accuracy {held['clean']:.1%}"
        axes.set_title(visible(f"{title}\n{mean}", lines=True), fontsize=10, wrap=True)
