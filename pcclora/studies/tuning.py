"""Settings of a comparison with an equal budget: the same grid for all of them, chosen on validation data.

::

    OUTPUT/<setting>/points/<point>/seed_<n>/    runs that choose, the first seeds of all
    OUTPUT/<setting>/points/<point>/seed_<n>.json    what each says: its figure on validation data, or how it diverged
    OUTPUT/<setting>/choice.json                 all points' means, and the best
    OUTPUT/<setting>/final/                      the best with all seeds, where the runs that choose saw less data

Where a split of the data set is kept apart to choose on, the runs that choose are the first of the final ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pcclora.atomic import read_json, write_json
from pcclora.engine.loop import DivergenceError
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.paths import is_file
from pcclora.studies.grid import Point, point_name
from pcclora.studies.runner import Leaf
from pcclora.studies.seeds import begin_seeds, holds_seeds, train_seed
from pcclora.tasks.settings import AdaptationRun

CHOICE = "choice.json"


@dataclass(frozen=True)
class Choice:
    """What a grid said of one setting.

    Attributes:
        point: The best.
        means: Point, as its ``key=value`` joined by spaces -> the mean of its figure, None where a seed diverged.
    """

    point: Point
    means: Mapping[str, float | None]

    @classmethod
    def read(cls, folder: Path) -> "Choice | None":
        """Read the choice of a setting, None while there is none.

        Raises:
            PccloraError: If it is damaged.
        """
        file = folder / CHOICE
        if not is_file(file):
            return None
        held = read_json(file)
        remedy = "delete it, and it is made again from the runs"
        check_form(held, {"point": [str], "means": {"*": (float, None)}}, file, remedy=remedy)
        return cls(tuple(held["point"]), held["means"])


def tuning_leaves(
    name: str,
    folder: Path,
    points: Mapping[Point, AdaptationRun],
    *,
    seeds: Sequence[int],
    figure: Callable[[Path], float],
) -> list[Leaf]:
    """Begin what chooses the point of one setting, and return its runs.

    Args:
        name: Of the setting.
        folder: Of the setting.
        points: The runs of its points.
        seeds: Of each of them.
        figure: Folder of a finished run -> what points are compared by. It can be pickled.
    """
    leaves: list[Leaf] = []
    for point, run in points.items():
        place = folder / "points" / point_name(point)
        if not holds_seeds(place):
            begin_seeds(run, place, seeds)
        for seed in seeds:
            file = place / f"seed_{seed}.json"
            call = partial(_try, place, seed, figure)
            leaves.append(Leaf(f"{name}, {' '.join(point)}, seed {seed}", file, call))
    return leaves


def _try(place: Path, seed: int, figure: Callable[[Path], float]) -> None:
    try:
        held: dict[str, Any] = {"value": figure(train_seed(place, seed))}
    except DivergenceError as error:  # this point is none; the others go on
        held = {"value": None, "diverged": str(error)}
    write_json(place / f"seed_{seed}.json", held)


def choose_point(name: str, folder: Path, points: Sequence[Point], seeds: Sequence[int]) -> Choice:
    """Take the point with the best mean; the first of equals.

    Args:
        name: Of the setting.
        folder: Of the setting, whose runs that choose are finished.
        points: Of the grid.
        seeds: Of those runs.

    Raises:
        PccloraError: If every point diverged.
    """
    means = {" ".join(point): _mean(folder / "points" / point_name(point), seeds) for point in points}
    known = [(mean, -place) for place, mean in enumerate(means.values()) if mean is not None]
    if not known:
        raise PccloraError(f"{name}: the training diverges at every point of the grid; give it lower learning rates")
    choice = Choice(points[-max(known)[1]], means)
    write_json(folder / CHOICE, {"point": list(choice.point), "means": dict(means)})
    return choice


def _mean(place: Path, seeds: Sequence[int]) -> float | None:
    files = [place / f"seed_{seed}.json" for seed in seeds]
    values: list[float | None] = []
    for file in files:
        held = read_json(file)
        check_form(held, {"value": (float, None), "diverged?": str}, file, remedy="delete it, and it is made again")
        values.append(held["value"])
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def chosen_folder(folder: Path, *, apart: bool) -> Path:
    """Return where the final runs of a setting are; the setting's own folder while nothing is chosen.

    Args:
        folder: Of the setting.
        apart: Whether the runs that choose are others than the final ones.
    """
    choice = Choice.read(folder)
    if choice is None:
        return folder
    return folder / "final" if apart else folder / "points" / point_name(choice.point)


def own_figure(score: str, run: Path) -> float:
    """Return the figure of a finished run whose test data are validation data.

    Args:
        score: Its name.
        run: The run's folder.
    """
    metrics: dict[str, float] = RunFolder(run).read_summary()["metrics"]
    return metrics[score]
