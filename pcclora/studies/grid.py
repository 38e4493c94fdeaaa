"""Settings chosen on validation images: a grid of ordinary runs on the tuning side of a data set.

The protocol of VTAB-1K (Zhai et al., arXiv 1910.04867): each point of the grid is trained on 800 images and measured on
the 200 others, by its last epoch; the best is then trained on all 1,000 and tested once. A tuning run does not open the
test images: what its folder calls the test set are the validation images.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcclora.atomic import make_folder, read_json, write_json
from pcclora.config import read_yaml
from pcclora.engine.run_folder import RunFolder
from pcclora.engine.summary import SEARCH
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.tasks.settings import AdaptationRun

FIXED = frozenset({"task", "data", "seed", "selection", "validation_fraction"})
"""What a grid cannot vary: points would not be compared on the same images, or not by their last epoch."""
AS_GIVEN = "as_given"
"""Folder of the run whose settings were not searched."""

Point = tuple[str, ...]
"""``key=value`` of one point of a grid."""


def read_grid(file: Path) -> list[Point]:
    """Read a grid, ``key: [value, ...]`` a line, and return its points.

    Raises:
        PccloraError: If it is no such file, or varies what a search must leave alone.
    """
    return points_of(read_yaml(file), file)


def points_of(grid: Mapping[str, Any], file: object) -> list[Point]:
    """Return the points of a grid: every combination, the last key fastest.

    Args:
        grid: Key -> list of values.
        file: Where it is, for messages.

    Raises:
        PccloraError: If it varies what a search must leave alone.
    """
    for key, values in grid.items():
        if key.partition(".")[0] in FIXED:
            raise PccloraError(f"{file}: a grid cannot vary '{key}'; give it as an option, for all points")
        if not isinstance(values, list) or not values:
            raise PccloraError(f"{file}: {key} is {values!r}; a list of values is needed, as [0.001, 0.01]")
    points = [
        tuple(f"{key}={_as_option(value)}" for key, value in zip(grid, values, strict=True))
        for values in itertools.product(*grid.values())
    ]
    named: dict[str, Point] = {}
    for point in points:
        if named.setdefault(point_name(point), point) != point or not point:
            raise PccloraError(f"{file}: {' '.join(point) or 'no key'}; each point needs letters and digits of its own")
    return list(named.values())


def point_name(point: Sequence[str]) -> str:
    """Return the folder of a point."""
    return re.sub(r"[^\w.=,+-]+", "_", ",".join(point)) or AS_GIVEN


def check_searchable(config: AdaptationRun, figure: str) -> None:
    """Refuse a run whose data set has no tuning side, or whose epochs are chosen.

    Args:
        config: The run.
        figure: What points are compared by.

    Raises:
        PccloraError: If it is such a run.
    """
    if config.data.tuning is None:
        raise PccloraError("--grid: this data set has no 'tuning', no validation images to choose settings on")
    if config.data.tuning or config.selection != "last":
        raise PccloraError(
            f"--grid: points are compared by the {figure} of their last epoch on the validation images, and the best "
            "is tested once; leave out data.tuning and selection"
        )


def tuned(folder: Path, figure: str) -> list[dict[str, Any]]:
    """Return what is known of the points whose tuning runs are in a folder.

    Args:
        folder: It takes one folder a point, with ``point.json`` once it came to its end.
        figure: What points are compared by.

    Raises:
        PccloraError: If one of these files is damaged.
    """
    counts = {"train": int, "test": int}
    form = {"options": [str], figure: (float, None), "error": (str, None), "samples?": counts}
    found = {file: read_json(file) for file in sorted(folder.glob("*/point.json"))}
    for file, held in found.items():
        check_form(held, form, file, remedy="delete it, and the search makes it again")
        if held[figure] is not None and "samples" not in held:
            raise PccloraError(f"{file}: there are no samples; delete it, and the search makes it again")
    return list(found.values())


def write_point(folder: Path, point: Point, figure: str, error: str | None = None) -> None:
    """Write point.json into a tuning run's folder.

    Args:
        folder: The run.
        point: Its settings.
        figure: What points are compared by.
        error: Why it did not come to its end, as a loss that is not finite.
    """
    held: dict[str, Any] = {"options": list(point), figure: None, "error": error}
    if error is None:
        summary = RunFolder(folder).read_summary()
        held |= {figure: summary["metrics"][figure], "samples": summary["samples"]}
    make_folder(folder)
    write_json(folder / "point.json", held)


def choose(folder: Path, points: Sequence[Point], figure: str) -> dict[str, Any]:
    """Choose among the points of a search, write search.json and return it.

    Args:
        folder: Of the task; its ``tuning`` has the runs.
        points: In the order of the grid; of equal ones the first is chosen.
        figure: What points are compared by, on the validation images.

    Raises:
        PccloraError: If no point came to its end.
    """
    found = {tuple(held["options"]): held for held in tuned(folder / "tuning", figure)}
    if missing := [point for point in points if point not in found]:
        raise PccloraError(f"{folder}: no point.json is of the point {' '.join(missing[0])}; run the search again")
    measured = [point for point in points if found[point][figure] is not None]
    if not measured:
        raise PccloraError(f"{folder}: no point of the grid came to its end; {found[points[0]]['error']}")
    best = max(measured, key=lambda point: found[point][figure])  # max: the first of equal ones
    search = {
        "chosen": list(best),
        "by": f"{figure} of the last epoch",
        "on": found[best]["samples"]["test"],
        "trained_on": found[best]["samples"]["train"],
        "points": [found[point] for point in points],
    }
    write_json(folder / "search.json", search)
    return search


def read_search(path: Path) -> dict[str, Any]:
    """Read what :func:`choose` wrote.

    Raises:
        PccloraError: If it is absent or damaged.
    """
    held = read_json(path)
    check_form(held, SEARCH, path, remedy="delete it, and the search makes it again")
    return held


def _as_option(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
