"""The test images that a run is surest of, right and wrong, as one PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclora.data import LabelledDataset
from pcclora.engine.run_folder import RunFolder
from pcclora.runs.splits import open_side
from pcclora.tasks.registry import load_run_config
from pcclora.text import visible
from pcclora.vis.lettering import short
from pcclora.vis.palette import BLUE, VERMILION
from pcclora.vis.plots import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, ROWS = 6, 2
"""Of the right ones, and as many of the wrong ones."""


def surest(folder: RunFolder, *, right: bool, count: int = COLUMNS * ROWS) -> list[int]:
    """Return the test samples of the most probable predictions, the surest first.

    Args:
        folder: A finished classification run.
        right: Of the right predictions; else of the wrong ones.
        count: How many at most.
    """
    rows = folder.read_predictions()
    chosen = [row for row in rows if (row["label"] == row["prediction"]) == right]
    return [int(row["index"]) for row in sorted(chosen, key=lambda row: -row["confidence"])[:count]]


def draw_image_gallery(folder: RunFolder, target: Path, *, title: str) -> None:
    """Draw the test images of the surest right and the surest wrong predictions, with their classes.

    Args:
        folder: A finished image run, whose data are where they were.
        target: The PNG to write or replace.
        title: Data set, model, adapter.

    Raises:
        PccloraError: If the data cannot be read.
    """
    dataset = open_side(load_run_config(folder.config), folder.path)
    with drawing(target, 1.5 * COLUMNS + 0.4, 1.75 * 2 * ROWS + 1.2) as figure:
        halves: Any = figure.subfigures(2, 1, hspace=0.03)
        for half, right in zip(halves, (True, False), strict=True):
            chosen = surest(folder, right=right)
            words = "surest right answers" if right else "surest wrong answers: predicted class (true class)"
            half.suptitle(words if chosen else f"{words}: none", fontsize=10, color=BLUE if right else VERMILION)
            axes = half.subplots(ROWS, COLUMNS, squeeze=False).ravel()
            _draw_half(axes, folder, dataset, chosen)
        figure.suptitle(visible(title, lines=True), fontsize=11)


def _draw_half(axes: Sequence["Axes"], folder: RunFolder, dataset: LabelledDataset, chosen: Sequence[int]) -> None:
    rows = folder.read_predictions()
    for place, own in enumerate(axes):
        own.axis("off")
        if place >= len(chosen):
            continue
        row, pixels = rows[chosen[place]], dataset[chosen[place]].pixels
        true, guess = (dataset.class_names[int(row[key])] for key in ("label", "prediction"))
        own.imshow(pixels, interpolation="nearest" if max(pixels.shape) <= 64 else "antialiased")
        caption = f"{short(guess, 18)} {row['confidence']:.0%}" + ("" if true == guess else f"\n({short(true, 18)})")
        own.set_title(caption, fontsize=7, pad=2)
