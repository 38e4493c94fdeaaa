"""Learning curves, confusion matrices and IoU bars as PNG files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pcclora.atomic import replacing
from pcclora.engine.run_folder import read_rows
from pcclora.text import visible
from pcclora.vis.lettering import plain_text, short
from pcclora.vis.palette import BLUE, GREY, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"train": BLUE, "test": VERMILION, "validation": VERMILION}
QUANTITIES = {"loss": "loss", "accuracy": "accuracy (%)", "instance_miou": "instance mIoU (%)"}

LONGEST = 40
"""Letters of a name, so that it leaves room for what it names."""


def draw_curves(metrics: Path, target: Path, *, title: str) -> None:
    """Draw the loss, and of accuracy and instance mIoU what there is, over the epochs.

    Args:
        metrics: A run's metrics.csv.
        target: The PNG to write or replace.
        title: Data set, model, adapter.
    """
    rows = read_rows(metrics, needed=("epoch",))
    quantities = [name for name in QUANTITIES if any(f"{split}_{name}" in row for split in COLOURS for row in rows)]
    with drawing(target, 4.6 * len(quantities) + 0.6, 3.9) as figure:
        figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr,call-arg]
        for place, quantity in enumerate(quantities):
            axes = figure.add_subplot(1, len(quantities), place + 1)
            factor = 1.0 if quantity == "loss" else 100.0
            for split, colour in COLOURS.items():
                drawn = [(row["epoch"], factor * row[key]) for row in rows if (key := f"{split}_{quantity}") in row]
                if drawn:
                    _curve(axes, drawn, split, colour)
            axes.set_xlabel("epoch")
            axes.set_ylabel(QUANTITIES[quantity])
            _tidy(axes)
            axes.legend(frameon=False)
        figure.suptitle(visible(title, lines=True), fontsize=11)


def draw_confusion(confusion: NDArray[np.int64], class_names: Sequence[str], target: Path, *, title: str) -> None:
    """Draw a confusion matrix; the shade is the share of the true class, the number counts test objects.

    Args:
        confusion: (C, C) counts; rows are true classes.
        class_names: C names.
        target: The PNG to write or replace.
        title: Data set, model, adapter, accuracy.
    """
    C = len(class_names)
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = max(5.0, 0.26 * C + 3.0)
    size, names = (9 if C <= 20 else 8), [short(name, LONGEST) for name in class_names]
    with drawing(target, side + 0.8, side) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(C), names, rotation=90, fontsize=size)
        axes.set_yticks(range(C), names, fontsize=size)
        for true, guess in np.argwhere(confusion):
            shade = "white" if share[true, guess] > 0.55 else "black"
            axes.text(
                guess, true, str(confusion[true, guess]), ha="center", va="center", fontsize=size - 1, color=shade
            )
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
        bar.set_label("share of the true class (%)")
        axes.set_title(visible(title, lines=True), fontsize=11, wrap=True)


def draw_iou_bars(categories: Mapping[str, Mapping[str, Any]], target: Path, *, title: str) -> None:
    """Draw the mIoU of each category as a bar, and their mean as a line.

    Args:
        categories: Name -> ``{"iou": 0 to 1, "shapes": how many}``, as in a run's summary.json.
        target: The PNG to write or replace.
        title: Data set, model, adapter, mIoUs.
    """
    names = [f"{short(name, LONGEST)} ({held['shapes']:,})" for name, held in categories.items()]
    percents = [100 * held["iou"] for held in categories.values()]
    with drawing(target, 7.2, 1.6 + 0.27 * len(names)) as figure:
        axes = figure.add_subplot()
        axes.barh(range(len(names)), percents, height=0.68, color=BLUE)
        for place, percent in enumerate(percents):  # in a column of their own, which the line of the mean cannot cross
            axes.text(108, place, f"{percent:.1f}", ha="right", va="center", fontsize=9)
        mean = float(np.mean(percents))
        axes.axvline(mean, color=VERMILION, linewidth=1.4, linestyle="--", label=f"class mIoU {mean:.1f}")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, 108)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("mIoU (%)")
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        tidy_spines(axes)
        figure.suptitle(visible(title, lines=True), fontsize=11)


@contextmanager
def drawing(target: Path, width: float, height: float) -> Iterator["Figure"]:
    """Give an empty figure of that many inches; on leaving, it is written as PNG or replaces one, atomically."""
    from matplotlib.figure import Figure  # no pyplot: no window system, no global state

    with plain_text():
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with replacing(target) as temporary:
            figure.savefig(temporary, format="png", dpi=150)


def _curve(axes: "Axes", drawn: Sequence[tuple[float, float]], split: str, colour: str) -> None:
    """A line; marks where points are sparse, so that a single evaluation can be seen."""
    x, y = zip(*drawn, strict=True)
    style = {"train": "-", "test": "--", "validation": "--"}[split]
    axes.plot(x, y, style, color=colour, marker="o" if len(x) <= 20 else "", markersize=4, linewidth=1.6, label=split)


def _tidy(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.25)
    axes.tick_params(colors=GREY)
    tidy_spines(axes)


def tidy_spines(axes: "Axes") -> None:
    """Leave the lines at the left and below."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
