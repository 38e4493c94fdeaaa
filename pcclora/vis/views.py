"""What can be seen of a segmented cloud: the scan's own colours, the true parts, the predicted ones, the errors.

A view is one colour a point and one legend. Every picture, window and page shows these.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcclora.engine.segmented import IntArray, SegmentedCloud
from pcclora.vis.palette import RIGHT, WRONG, part_colours, rgb

Legend = tuple[tuple[str, tuple[int, int, int]], ...]

SCAN, TRUTH, PREDICTION, ERRORS, TOKENS = "scan", "ground truth", "prediction", "errors", "tokens"


@dataclass(frozen=True)
class View:
    """One way to colour a cloud.

    Attributes:
        name: What it shows.
        points: (N, 3) coordinates.
        colours: (N, 3) uint8.
        legend: Name and colour of all that is told apart.
    """

    name: str
    points: NDArray[np.floating]
    colours: NDArray[np.uint8]
    legend: Legend = ()


def views_of(cloud: SegmentedCloud) -> dict[str, View]:
    """Return the views that the cloud has data for, by name: scan, ground truth, prediction, errors, in this order."""
    views = []
    if cloud.colors is not None:
        views.append(View(SCAN, cloud.points, cloud.colors))
    for name, labels in ((TRUTH, cloud.truth), (PREDICTION, cloud.prediction)):
        if labels is not None:
            views.append(View(name, cloud.points, _part_colours(cloud, labels), part_legend(cloud)))
    if cloud.errors is not None:
        both = np.stack([rgb(RIGHT), rgb(WRONG)])
        legend = _legend(("right", "wrong"), both)
        views.append(View(ERRORS, cloud.points, both[cloud.errors.astype(np.int64)], legend))
    return {view.name: view for view in views}


def part_legend(cloud: SegmentedCloud) -> Legend:
    """Return name and colour of every part that the category has."""
    return _legend([cloud.part_names[part] for part in cloud.parts], part_colours(len(cloud.parts)))


def _part_colours(cloud: SegmentedCloud, labels: IntArray) -> NDArray[np.uint8]:
    return part_colours(len(cloud.parts))[np.searchsorted(cloud.parts, labels)]


def _legend(names: Sequence[str], colours: NDArray[np.uint8]) -> Legend:
    return tuple((name, (int(r), int(g), int(b))) for name, (r, g, b) in zip(names, colours, strict=True))
