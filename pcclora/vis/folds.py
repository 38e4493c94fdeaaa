"""Few-shot results as a PNG: every fold a point, the mean and its 95 % interval beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pcclora.studies.fewshot.summary import LABELS, SettingResult
from pcclora.text import short, visible
from pcclora.vis.palette import BLUE, GREY, VERMILION
from pcclora.vis.plots import LONGEST, drawing, tidy_spines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = 1.6
"""Inches of a panel that the names of the methods may take; it is as much wider as they are."""


def draw_folds(results: Sequence[SettingResult], target: Path, *, title: str) -> None:
    """Draw one panel a setting; a grey line joins what the methods made of one fold.

    Args:
        results: Settings with at least one finished fold each.
        target: The PNG to write or replace.
        title: Data set, model.
    """
    drawn = [result for result in results if result.methods]
    if not drawn:
        return
    columns = min(len(drawn), 2)
    rows = -(-len(drawn) // columns)
    tall = 1.5 + 0.42 * max(len(result.methods) for result in drawn)
    with drawing(target, 5.2 * columns + 0.4, tall * rows + 0.5) as figure:
        for place, result in enumerate(drawn):
            _panel(figure.add_subplot(rows, columns, place + 1), result)
        names = (label for axes in figure.axes for label in axes.get_yticklabels())
        widest = max(name.get_window_extent().width for name in names) / figure.dpi
        figure.set_size_inches(figure.get_figwidth() + columns * max(widest - NAMES, 0), figure.get_figheight())
        figure.suptitle(visible(title, lines=True), fontsize=11)


def _panel(axes: "Axes", result: SettingResult) -> None:
    names = list(result.methods)
    folds = [result.methods[name].values for name in names]
    if len({len(own) for own in folds}) == 1:
        for values in zip(*folds, strict=True):
            axes.plot([100 * v for v in values], range(len(names)), color=GREY, alpha=0.22, linewidth=0.8, zorder=1)
    for row, name in enumerate(names):
        held = result.methods[name]
        percents = [100 * value for value in held.values]
        axes.scatter(percents, [row] * len(percents), s=20, color=BLUE, alpha=0.65, linewidths=0, zorder=2)
        error = None if held.half_width is None else [100 * held.half_width]
        axes.errorbar(
            [100 * held.mean], [row + 0.24], xerr=error, fmt="D", color=VERMILION, markersize=5, capsize=3, zorder=3
        )
    axes.set_yticks(range(len(names)), [short(name, LONGEST) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("accuracy (%): folds, mean and 95 % interval")
    axes.set_title(f"{result.way}-way {result.shot}-shot, {LABELS[result.figure]}", fontsize=10)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    tidy_spines(axes)
