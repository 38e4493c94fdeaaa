"""Learning curves, confusion matrices and IoU bars as PNG files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pcclora.atomic import replacing
from pcclora.engine.run_folder import read_rows
from pcclora.extras import of_extra
from pcclora.text import short, visible
from pcclora.vis.lettering import plain_text
from pcclora.vis.palette import BLUE, GREY, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"train": BLUE, "test": VERMILION, "validation": VERMILION}
QUANTITIES = {"loss": "loss", "accuracy": "accuracy (%)", "instance_miou": "instance mIoU (%)"}

LONGEST = 40
"""Letters of a name, so that it leaves room for what it names."""

FEW = 8
"""Evaluations that are drawn as marks alone: a line through three of them would tell of epochs that nobody has seen."""

_RING: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 9, "markerfacecolor": "none"}
_BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}


def draw_curves(
    metrics: Path,
    target: Path,
    *,
    title: str,
    constant: Mapping[str, float] | None = None,
    answer: str = "most frequent class",
    kept: int | None = None,
) -> None:
    """Draw the loss, and of accuracy and instance mIoU what there is, over the epochs; the legend has the last values.

    Args:
        metrics: A run's metrics.csv.
        target: The PNG to write or replace.
        title: Data set, model, adapter.
        constant: Quantity -> what an answer gets that does not look at the object, 0 to 1.
        answer: What that answer is.
        kept: The epoch whose weights were kept.
    """
    rows = read_rows(metrics, needed=("epoch",))
    quantities = [name for name in QUANTITIES if any(f"{split}_{name}" in row for split in COLOURS for row in rows)]
    with drawing(target, 4.6 * len(quantities) + 0.6, 3.9) as figure:
        figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr,call-arg]
        for place, quantity in enumerate(quantities):
            axes = figure.add_subplot(1, len(quantities), place + 1)
            factor, form = (1.0, "{:.3g}") if quantity == "loss" else (100.0, "{:.1f} %")
            for split, colour in COLOURS.items():
                drawn = {row["epoch"]: factor * row[key] for row in rows if (key := f"{split}_{quantity}") in row}
                if drawn:
                    last = form.format(list(drawn.values())[-1])
                    _curve(axes, drawn, f"{split}  {last}", colour, dashed=split != "train", whole=len(rows))
                    _ring(axes, drawn, kept, colour)
            if constant and quantity in constant:
                floor = 100 * constant[quantity]
                axes.axhline(floor, color=GREY, linewidth=1.2, linestyle=":", label=f"{answer}  {floor:.1f} %")
            if kept is not None:
                axes.plot([], [], color=GREY, label=f"weights kept: epoch {kept}", **_RING)
            axes.set_xlabel("epoch")
            axes.set_ylabel(QUANTITIES[quantity])
            _tidy(axes)
            axes.set_xlim(rows[0]["epoch"] - 0.04 * len(rows), rows[-1]["epoch"] + 0.04 * len(rows))
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]), top=None if quantity == "loss" else 102)
            axes.legend(frameon=False, fontsize=9)
        figure.suptitle(visible(title, lines=True), fontsize=11)


def draw_confusion(confusion: NDArray[np.int64], class_names: Sequence[str], target: Path, *, title: str) -> None:
    """Draw a confusion matrix; the shade is the share of the true class, the number counts test objects.

    At the right of each row is the share of its class that is found, the recall.

    Args:
        confusion: (C, C) counts; rows are true classes.
        class_names: C names.
        target: The PNG to write or replace.
        title: Data set, model, adapter, accuracy.
    """
    C, sums = len(class_names), confusion.sum(axis=1)
    share = confusion / np.maximum(sums[:, None], 1)
    side = max(5.0, 0.26 * C + 3.0)
    size, names = (9 if C <= 20 else 8), [short(name, LONGEST) for name in class_names]
    with drawing(target, side + 0.6, side) as figure:
        axes = figure.add_subplot()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(C), names, fontsize=size, **_turned(names, cell=0.62 * side / C))
        axes.set_yticks(range(C), names, fontsize=size)
        for true, guess in np.argwhere(confusion):
            shade = "white" if share[true, guess] > 0.55 else "black"
            axes.text(
                guess, true, str(confusion[true, guess]), ha="center", va="center", fontsize=size - 1, color=shade
            )
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.tick_params(length=0)
        found = axes.secondary_yaxis("right")
        recalls = [f"{share[c, c]:.0%}" if sums[c] else "no object" for c in range(C)]
        found.set_yticks(range(C), recalls, fontsize=size)
        found.tick_params(length=0)
        found.set_ylabel("recall: share of the true class that is found (the shade)", color=GREY, fontsize=size)
        axes.set_title(visible(title, lines=True), fontsize=11, wrap=True)


def draw_iou_bars(held: Mapping[str, Mapping[str, Any]], target: Path, *, title: str, mean: str = "class mIoU") -> None:
    """Draw the IoU of each category, or of each part of one, as a bar, and their mean as a line.

    Args:
        held: Name -> ``{"iou": 0 to 1, "shapes": how many}``, as in a run's summary.json.
        target: The PNG to write or replace.
        title: Data set, model, adapter, mIoUs.
        mean: What the mean of these is called.
    """
    names = [f"{short(name, LONGEST)} ({own['shapes']:,})" for name, own in held.items()]
    percents = [100 * own["iou"] for own in held.values()]
    with drawing(target, 7.2, 1.6 + 0.27 * len(names)) as figure:
        axes = figure.add_subplot()
        axes.barh(range(len(names)), percents, height=0.68, color=BLUE)
        middle = float(np.mean(percents))
        axes.axvline(middle, color=VERMILION, linewidth=1.4, linestyle="--", label=f"{mean} {middle:.1f}")
        for place, percent in enumerate(percents):  # white behind: the line of the mean may cross it
            axes.text(percent + 1, place, f"{percent:.1f}", va="center", fontsize=9, bbox=_BEHIND)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, 108)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("IoU (%); beside each name the number of test shapes")
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        tidy_spines(axes)
        figure.suptitle(visible(title, lines=True), fontsize=11)


@contextmanager
def drawing(target: Path, width: float, height: float) -> Iterator["Figure"]:
    """Give an empty figure of that many inches; on leaving, it is written as PNG or replaces one, atomically."""
    with of_extra("train", "a picture"):
        from matplotlib.figure import Figure  # no pyplot: no window system, no global state

    with plain_text():
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with replacing(target) as temporary:
            figure.savefig(temporary, format="png", dpi=150)


def _curve(axes: "Axes", drawn: Mapping[float, float], label: str, colour: str, *, dashed: bool, whole: int) -> None:
    """A line with marks where points are sparse; a few evaluations between many epochs are marks alone."""
    few = len(drawn) <= FEW and len(drawn) < whole
    style: dict[str, Any] = {
        "linestyle": "none" if few else "--" if dashed else "-",
        "marker": "o" if len(drawn) <= 20 else "",
    }
    axes.plot(*zip(*drawn.items(), strict=True), color=colour, markersize=4, linewidth=1.6, label=label, **style)


def _ring(axes: "Axes", drawn: Mapping[float, float], kept: int | None, colour: str) -> None:
    if kept is not None and kept in drawn:
        axes.plot([kept], [drawn[kept]], color=colour, **_RING)


def _turned(names: Sequence[str], *, cell: float) -> dict[str, Any]:
    """How names stand below columns of so many inches: level if they fit, else slanting, many of them on end."""
    if max(map(len, names)) * 0.085 < cell:
        return {"rotation": 0}
    return {"rotation": 90} if len(names) > 20 else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}


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
