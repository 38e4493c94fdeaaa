"""What can be seen of a segmented cloud: the scan's own colours, the true parts, the predicted ones, the errors.

A view is one colour a point and one legend. Every picture, window and page shows these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray

from pcclora.errors import PccloraError
from pcclora.metrics import part_ious
from pcclora.runs.segmented import IntArray, SegmentedCloud
from pcclora.text import visible
from pcclora.vis.palette import BLACK, RIGHT, WRONG, part_colours, rgb
from pcclora.vis.tokens import Tokens, token_colours

Legend = tuple[tuple[str, tuple[int, int, int]], ...]

SCAN, TRUTH, PREDICTION, ERRORS, TOKENS = ORDER = ("scan", "ground truth", "prediction", "errors", "tokens")


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


def views_of(cloud: SegmentedCloud, *, tokens: Tokens | None = None) -> dict[str, View]:
    """Return the views that the cloud has data for, by name: scan, ground truth, prediction, errors, tokens.

    Args:
        cloud: The object.
        tokens: How a model cuts it, to see that too.

    Raises:
        PccloraError: If a label is none of the category's parts, or the cloud is too small for the tokens.
    """
    views = []
    if cloud.colors is not None:
        views.append(View(SCAN, cloud.colors))
    for name, labels in ((TRUTH, cloud.truth), (PREDICTION, cloud.prediction)):
        if labels is not None:
            views.append(View(name, _part_colours(cloud, labels), part_legend(cloud)))
    if cloud.errors is not None:
        both = np.stack([rgb(RIGHT), rgb(WRONG)])
        legend = _legend(("right", "wrong"), both)
        views.append(View(ERRORS, both[cloud.errors.astype(np.int64)], legend))
    if tokens is not None:
        legend = _legend(("centre", "in no token"), np.stack([rgb(BLACK), rgb(RIGHT)]))
        views.append(View(TOKENS, token_colours(cloud.points, tokens), legend))
    return {view.name: view for view in views}


def part_legend(cloud: SegmentedCloud) -> Legend:
    """Return name and colour of every part that the category has; a name that begins with the category goes without."""
    names = [cloud.part_names[part].removeprefix(f"{cloud.category}: ") for part in cloud.parts]
    return _legend(names, part_colours(len(cloud.parts)))


def title_lines(cloud: SegmentedCloud, *, width: int) -> list[str]:
    """Return where the cloud came from, in lines of at most ``width`` letters."""
    pieces = visible(cloud.title).split(", ")
    return [line for piece in pieces for line in wrap(piece, width, max_lines=2, placeholder="…")]


def figures_of(cloud: SegmentedCloud) -> list[str]:
    """Return what is known of the object as a whole, a line each: mIoU, share of right points, mean confidence."""
    lines = []
    if cloud.truth is not None and cloud.prediction is not None:
        lines.append(f"mIoU {part_ious(cloud.truth, cloud.prediction, cloud.parts).mean():.1%}")
        lines.append(f"accuracy {(cloud.truth == cloud.prediction).mean():.1%}")
    if cloud.confidence is not None:
        lines.append(f"confidence {cloud.confidence.mean():.1%}")
    return lines


def _part_colours(cloud: SegmentedCloud, labels: IntArray) -> NDArray[np.uint8]:
    wrong = labels[~np.isin(labels, cloud.parts)]
    if wrong.size:
        raise PccloraError(
            f"{cloud.title or cloud.category}: part label {wrong[0]}; {cloud.category} has the parts "
            f"{', '.join(map(str, cloud.parts))}"
        )
    return part_colours(len(cloud.parts))[np.searchsorted(cloud.parts, labels)]


def _legend(names: Sequence[str], colours: NDArray[np.uint8]) -> Legend:
    return tuple((visible(name), (int(r), int(g), int(b))) for name, (r, g, b) in zip(names, colours, strict=True))
