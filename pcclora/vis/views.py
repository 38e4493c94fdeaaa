"""What can be seen of a cloud: its own colours, true and predicted parts, errors, tokens; else its height.

A view is one colour a point and one legend. Every picture, window and page shows these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import Axis
from pcclora.data.readers.up_axis import turn_upright
from pcclora.errors import PccloraError
from pcclora.metrics import part_ious
from pcclora.runs.segmented import ClassAnswer, IntArray, SegmentedCloud
from pcclora.text import visible
from pcclora.vis.palette import BLACK, RIGHT, WRONG, part_colours, rgb, scale_colours
from pcclora.vis.tokens import Tokens, token_colours

Legend = tuple[tuple[str, tuple[int, int, int]], ...]

SCAN, HEIGHT, TRUTH, PREDICTION, ERRORS, TOKENS = ORDER = (
    "scan",
    "height",
    "ground truth",
    "prediction",
    "errors",
    "tokens",
)


@dataclass(frozen=True)
class View:
    """One way to colour a cloud.

    Attributes:
        name: What it shows.
        colours: (N, 3) uint8.
        legend: Name and colour of all that is told apart.
    """

    name: str
    colours: NDArray[np.uint8]
    legend: Legend = ()


def views_of(cloud: SegmentedCloud, *, tokens: Tokens | None = None, up: Axis = "y") -> dict[str, View]:
    """Return the views that the cloud has data for, by name: scan, ground truth, prediction, errors, tokens.

    A cloud with neither colours nor parts is seen by the height of its points.

    Args:
        cloud: The object.
        tokens: How a model cuts it, to see that too.
        up: The axis of the cloud that is vertical.

    Raises:
        PccloraError: If a label is none of the category's parts, or the cloud is too small for the tokens.
    """
    views = []
    if cloud.colors is not None:
        views.append(View(SCAN, cloud.colors))
    elif cloud.truth is None and cloud.prediction is None:
        views.append(_height(cloud.points, up))
    for name, labels in ((TRUTH, cloud.truth), (PREDICTION, cloud.prediction)):
        if labels is not None:
            views.append(View(name, _part_colours(cloud, labels), part_legend(cloud)))
    if cloud.errors is not None:
        both = np.stack([rgb(RIGHT), rgb(WRONG)])
        legend = legend_of(("right", "wrong"), both)
        views.append(View(ERRORS, both[cloud.errors.astype(np.int64)], legend))
    if tokens is not None:
        what = (f"{tokens.num_groups} centres", f"some tokens of {tokens.group_size} points", "other points")
        legend = legend_of(what, np.stack([rgb(BLACK), part_colours(1)[0], rgb(RIGHT)]))
        views.append(View(TOKENS, token_colours(cloud.points, tokens), legend))
    return {view.name: view for view in views}


def legend_of(names: Sequence[str], colours: NDArray[np.uint8]) -> Legend:
    """Return names, made safe to show, with colours (n, 3)."""
    return tuple((visible(name), (int(r), int(g), int(b))) for name, (r, g, b) in zip(names, colours, strict=True))


def scale_view(name: str, values: NDArray[np.floating], low: float, high: float, ends: tuple[str, str]) -> View:
    """Return the view of numbers (N,) on the scale from low to high; ``ends`` is what these are called."""
    colours = scale_colours((values.astype(np.float64) - low) / ((high - low) or 1.0))
    return View(name, colours, legend_of(ends, scale_colours(np.array([0.0, 1.0]))))


def part_legend(cloud: SegmentedCloud) -> Legend:
    """Return name and colour of every part that the category has; a name that begins with the category goes without."""
    names = [cloud.part_names[part].removeprefix(f"{cloud.category}: ") for part in cloud.parts]
    return legend_of(names, part_colours(len(cloud.parts)))


def title_lines(cloud: SegmentedCloud, *, width: int) -> list[str]:
    """Return where the cloud came from, in lines of at most ``width`` letters."""
    pieces = visible(cloud.title).split(", ")
    return [line for piece in pieces for line in wrap(piece, width, max_lines=2, placeholder="…")]


def answer_lines(answer: ClassAnswer) -> list[str]:
    """Return what a run says of an object's class, and what it truly is where that is known and another."""
    said = f"{visible(answer.guess)} ({answer.confidence:.0%})"
    return [said, f"truly {visible(answer.truth)}"] if answer.wrong and answer.truth else [said]


def figures_of(cloud: SegmentedCloud) -> list[str]:
    """Return what is known of the object as a whole, a line each: its class, mIoU, right points, mean confidence."""
    lines = [] if cloud.answer is None else answer_lines(cloud.answer)
    if cloud.truth is not None and cloud.prediction is not None:
        lines.append(f"mIoU {part_ious(cloud.truth, cloud.prediction, cloud.parts).mean():.1%}")
        lines.append(f"accuracy {(cloud.truth == cloud.prediction).mean():.1%}")
    if cloud.confidence is not None:
        lines.append(f"confidence {cloud.confidence.mean():.1%}")
    return lines


def _height(points: NDArray[np.floating], up: Axis) -> View:
    heights = turn_upright(points, up)[:, 1]
    return scale_view(HEIGHT, heights, heights.min(), heights.max(), ("lowest", "highest"))


def _part_colours(cloud: SegmentedCloud, labels: IntArray) -> NDArray[np.uint8]:
    wrong = labels[~np.isin(labels, cloud.parts)]
    if wrong.size:
        raise PccloraError(
            f"{cloud.title or cloud.category}: part label {wrong[0]}; {cloud.category} has the parts "
            f"{', '.join(map(str, cloud.parts))}"
        )
    return part_colours(len(cloud.parts))[np.searchsorted(cloud.parts, labels)]
