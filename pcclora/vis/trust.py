"""How far a classifier can be trusted, as PNG files: a heat map of corruptions, a reliability diagram."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pcclora.metrics.calibration import Reliability
from pcclora.text import visible
from pcclora.vis.palette import BLUE, GREY, VERMILION
from pcclora.vis.plots import drawing, tidy_spines


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


def draw_reliability(
    held: Reliability, target: Path, *, title: str, calibration: Mapping[str, Any] | None = None
) -> None:
    """Draw how often answers are right beside how sure the model is of them, and how many there are of each kind.

    Args:
        held: The answers in bins.
        target: The PNG to write or replace.
        title: Data set, model, adapter.
        calibration: The entry of summary.json, for the title.
    """
    edges = np.linspace(0, 100, len(held.counts) + 1)
    middles, wide, there = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0], held.counts > 0
    with drawing(target, 5.4, 5.6) as figure:
        above, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
        above.bar(middles[there], 100 * held.accuracy[there], 0.92 * wide, color=BLUE, label="right")
        above.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1.2, label="as sure as right")
        sure = 100 * held.confidence[there]
        above.plot(sure, 100 * held.accuracy[there], "D", color=VERMILION, markersize=5, label="mean confidence")
        above.set_ylabel("answers that are right (%)")
        above.set_ylim(0, 102)
        above.legend(frameon=False, fontsize=9, loc="upper left")
        below.bar(middles, held.counts, 0.92 * wide, color=GREY)
        below.set_ylabel("answers")
        below.set_xlabel("confidence (%)")
        below.set_xlim(0, 100)
        for axes in (above, below):
            axes.grid(alpha=0.25)
            axes.set_axisbelow(True)
            tidy_spines(axes)
        fitted = bool(calibration and calibration["fitted_on"])
        how = f", temperature {calibration['temperature']:.3g}" if calibration and fitted else ""
        figure.suptitle(visible(f"{title}\ncalibration error {held.error:.2%}{how}", lines=True), fontsize=11)
