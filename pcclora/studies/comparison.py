"""Settings side by side: the same run with several seeds for each, as a table that says how to make each row again.

A finished seed is never trained again, and a setting that did not finish stays in the table, marked missing. With a
``grid`` each setting's point is chosen first, on validation data and with the same grid for all: see
:mod:`pcclora.studies.tuning`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pcclora.data.corruptions.table import SEVERITIES
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError, did_you_mean
from pcclora.metrics.paired import PairedDifference, differences_from
from pcclora.runs.report import CONSTANT, weights_of
from pcclora.studies.further import Further, further_tests, read_evaluation
from pcclora.studies.grid import Point, points_of
from pcclora.studies.runner import HERE, Leaf, Outcome, Workers, run_leaves
from pcclora.studies.seeds import add_seeds, begin_seeds, holds_seeds, train_seed, write_seeds_summary
from pcclora.studies.tables import Table, best_of, percent
from pcclora.studies.tuning import Choice, choose_point, chosen_folder, own_figure, tuning_leaves
from pcclora.tasks.base import AnyTask
from pcclora.tasks.registry import load_run_config, task_of
from pcclora.tasks.settings import AdaptationRun

CORRUPTED = "mean corruption acc."
COSTS = ("trained", "in the head", "GMACs", "lit. GMACs", "s / epoch", "peak MB", "file")


@dataclass
class Comparison:
    """What a YAML file in ``configs/results/`` holds.

    Attributes:
        config: The configuration that all settings start from.
        seeds: Of each setting's runs.
        options: ``key=value`` for all settings.
        choose_on: A split of the data set that settings may be chosen on, as ``val``: every run is evaluated on it too.
        corruptions: Names of corruptions of clouds, or of sets of them, as ``modelnet40-c``: every run is tested on
            these too, and the table has the mean corruption accuracy.
        severities: Of the corruptions.
        settings: Name of a setting -> its own ``key=value``.
        grid: Key -> values, tried for each setting: the point with the best mean on validation data is taken.
        tuning_seeds: How many seeds, the first ones, that mean is of.
        tuning: Options of the runs that choose, as ``data.tuning=true``, whose test data are then validation data; not
            needed where there is ``choose_on``.
        against: Settings that all others are compared with, seed by seed: a column each.
    """

    config: str = ""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    options: list[str] = field(default_factory=list)
    choose_on: str = ""
    corruptions: list[str] = field(default_factory=list)
    severities: list[int] = field(default_factory=lambda: [*SEVERITIES])
    settings: dict[str, list[str]] = field(default_factory=dict)
    grid: dict[str, list[str]] = field(default_factory=dict)
    tuning_seeds: int = 2
    tuning: list[str] = field(default_factory=list)
    against: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a comparison of nothing, and a choice on nothing."""
        if not self.config or not self.settings:
            raise PccloraError("a comparison needs a config and settings")
        refuse_shared_homes("settings", self.settings)
        _ = self.tests
        if self.grid and bool(self.tuning) == bool(self.choose_on):
            raise PccloraError("grid: say by choose_on or by tuning what points are chosen on, by one of them")
        if self.grid and not 1 <= self.tuning_seeds <= len(self.seeds):
            raise PccloraError(f"tuning_seeds is {self.tuning_seeds}; from 1 to the {len(self.seeds)} seeds")
        for name in self.against:
            if name not in self.settings:
                raise PccloraError(f"against: there is no setting '{name}'{did_you_mean(name, self.settings)}")

    @property
    def points(self) -> list[Point]:
        """The points of the grid; one without options if there is no grid."""
        return points_of(self.grid, "grid") if self.grid else [()]

    @property
    def tests(self) -> tuple[Further, ...]:
        """What every run is tested on beside its own test set."""
        return further_tests(self.choose_on, self.corruptions, self.severities)

    def run(self, name: str, extra: list[str]) -> AdaptationRun:
        """Return the run of one setting, with further options."""
        return load_run_config(Path(self.config), [*self.options, *self.settings[name], *extra])

    @property
    def task(self) -> AnyTask:
        """What the settings are compared on."""
        return task_of(load_run_config(Path(self.config)))


def compare(comparison: Comparison, output: Path, *, options: list[str], workers: Workers = HERE) -> Outcome:
    """Train every setting that is not finished.

    Args:
        comparison: What to train.
        output: A folder that takes one folder a setting; what is finished there stays.
        options: Further ``key=value`` for all settings, as ``data.root=DATA``.
        workers: Who trains the seeds of all settings.

    Returns:
        The runs that failed, and those that are left to other shards.

    Raises:
        PccloraError: If a setting cannot be trained; those that are finished stay.
    """
    runs = _runs(comparison, options)  # a wrong one shows before any trains
    tuning = _runs(comparison, [*options, *comparison.tuning]) if comparison.tuning else runs
    chosen = _choose(comparison, output, tuning, workers)
    if isinstance(chosen, Outcome):
        return chosen
    leaves: dict[Path, list[Leaf]] = {}
    for name, point in chosen.items():
        folder = folder_of(output, name, comparison)
        if not holds_seeds(folder):
            begin_seeds(runs[name][point], folder, comparison.seeds)
        more = comparison.seeds if comparison.grid else ()
        leaves[folder] = [
            _leaf(f"{name}, seed {seed}", folder, seed, comparison.tests) for seed in add_seeds(folder, more)
        ]
    outcome = run_leaves([leaf for own in leaves.values() for leaf in own], workers, title="settings")
    for folder, own in leaves.items():
        if not RunFolder(folder).finished and all(leaf.file.is_file() for leaf in own):
            write_seeds_summary(folder)
    return outcome


def table(comparison: Comparison, output: Path) -> Table:
    """Return the settings as a table: mean ± sample std over the seeds, in percent.

    Raises:
        PccloraError: If settings were tested on different objects.
    """
    _refuse_other_data(output, comparison)
    task, split = comparison.task, comparison.choose_on
    spoilt = [test for test in comparison.tests if test.trial]
    headings = [*task.figures.values(), *(CORRUPTED for _ in spoilt)]
    told, blank = _told(output, comparison), [""] * len(comparison.against)
    columns = [f"{headings[0]} to choose on"] if split else []
    against = [f"less {name}" for name in comparison.against]
    found = Table(["setting", *columns, *headings, *COSTS, *against, "options"], notes=_notes(output, comparison))
    for name, own in comparison.settings.items():
        folder = folder_of(output, name, comparison)
        chosen = [_further(Further(split), folder, task)] if split else []
        choice = Choice.read(home_of(output, name)) if comparison.grid else None
        made = " ".join([*own, *(() if choice is None else choice.point)])
        found.rows.append([name, *chosen, *_figures(folder, task, spoilt), *told.get(name, blank), f"`{made}`"])
    found.rows += _constant(output, comparison, blank=len(spoilt))
    for column, figure in enumerate(task.figures, 1 + len(columns)):
        found.best |= {(place, column) for place in _best(comparison, output, figure)}
    return found


def _runs(comparison: Comparison, options: list[str]) -> dict[str, dict[Point, AdaptationRun]]:
    """Return the run of every setting at every point of the grid."""
    return {
        name: {point: comparison.run(name, [*options, *point]) for point in comparison.points}
        for name in comparison.settings
    }


def _choose(
    comparison: Comparison, output: Path, runs: dict[str, dict[Point, AdaptationRun]], workers: Workers
) -> dict[str, Point] | Outcome:
    """Return the point of each setting; or what failed, or is left to others, of the runs that choose."""
    if not comparison.grid:
        return {name: () for name in comparison.settings}
    split, score = comparison.choose_on, comparison.task.score
    figure = partial(_on_split, split, score) if split else partial(own_figure, score)
    seeds, points = comparison.seeds[: comparison.tuning_seeds], comparison.points
    leaves: list[Leaf] = []
    for name, own in runs.items():
        leaves += tuning_leaves(name, home_of(output, name), own, seeds=seeds, figure=figure)
    outcome = run_leaves(leaves, workers, title="choosing")
    if not outcome.complete:
        return outcome
    return {name: choose_point(name, home_of(output, name), points, seeds).point for name in comparison.settings}


def _on_split(split: str, score: str, run: Path) -> float:
    metrics: dict[str, float] = Further(split).carry_out(run)["metrics"]
    return metrics[score]


def home_of(output: Path, name: str) -> Path:
    """Return the folder of all that belongs to one setting."""
    return output / re.sub(r"[^a-z0-9]+", "_", name.lower().replace("+", " plus ")).strip("_")


def refuse_shared_homes(what: str, names: Iterable[str]) -> None:
    """Refuse names that would have one folder, where one would be shown what the other has trained.

    Args:
        what: They are, for the message.
        names: Of settings.

    Raises:
        PccloraError: Naming two of them, or one that has no folder of its own.
    """
    homes: dict[Path, str] = {Path(): ""}
    for name in names:
        if (other := homes.setdefault(home_of(Path(), name), name)) != name or not other:
            raise PccloraError(f"{what}: '{name}' and '{other}' have the same letters and digits; rename one")


def folder_of(output: Path, name: str, comparison: Comparison) -> Path:
    """Return the folder of one setting's seeds: with a grid, of its chosen point."""
    home = home_of(output, name)
    return chosen_folder(home, apart=bool(comparison.tuning)) if comparison.grid else home


def _leaf(name: str, folder: Path, seed: int, tests: tuple[Further, ...]) -> Leaf:
    run = folder / f"seed_{seed}"
    kept = RunFolder(folder).finished and not run.exists()  # the setting's numbers were kept, its runs were not
    last = tests[-1].file(run) if tests else run / "summary.json"
    return Leaf(name, folder / "summary.json" if kept else last, partial(_train, folder, seed, tests))


def _train(folder: Path, seed: int, tests: tuple[Further, ...]) -> None:
    run = train_seed(folder, seed)
    for test in tests:
        test.carry_out(run)


def _figures(folder: Path, task: AnyTask, spoilt: list[Further]) -> list[str]:
    if not RunFolder(folder).finished:
        return ["missing", *[""] * (len(task.figures) + len(spoilt) + len(COSTS) - 1)]
    summary = RunFolder(folder).read_summary()
    gmacs = summary["gmacs"]
    return [
        *(_percent(summary["metrics"], name) for name in task.figures),
        *(_further(test, folder, task) for test in spoilt),
        f"{summary['parameters']['trained']:,}",
        f"{summary['parameters']['head']:,}" if "head" in summary["parameters"] else "",
        f"{gmacs['total']:.4f}",
        f"{gmacs['literature']:.4f}",
        f"{summary['seconds_per_epoch']['mean']:.1f}",
        f"{summary['peak_memory_mb']['mean']:.0f}",
        f"{summary['adapter_bytes'] / 1000:.0f} kB",
    ]


def _constant(output: Path, comparison: Comparison, *, blank: int) -> list[list[str]]:
    """Return the row of an answer that needs no model, if the task has one: it is the same for all settings."""
    finished = _finished(output, comparison)
    held = RunFolder(finished[0]).read_summary().get("constant") if finished else None
    if not held:
        return []
    figures = [f"{100 * value:.1f}" for value in held.values()]
    if split := comparison.choose_on:
        files = list(finished[0].glob(f"seed_*/{split}/summary.json"))
        chosen = [read_evaluation(file)["constant"][comparison.task.score] for file in files[:1]]
        figures = [f"{100 * chosen[0]:.1f}" if chosen else "", *figures]
    figures += [""] * blank
    return [[CONSTANT, *figures, "0", *[""] * (len(COSTS) + len(comparison.against))]]


def _best(comparison: Comparison, output: Path, figure: str) -> set[int]:
    """Return the places of the settings that no other is told to be better than."""
    values, paired = _values(output, comparison, figure)
    best = best_of(values, paired=paired) if values else set()
    return {place for place, name in enumerate(comparison.settings) if name in best}


def _values(output: Path, comparison: Comparison, figure: str) -> tuple[dict[str, list[float]], bool]:
    """Return a figure of each finished setting, a value a seed, and whether all have the same seeds."""
    values, seeds = {}, set()
    for name in comparison.settings:
        if RunFolder(folder := folder_of(output, name, comparison)).finished:
            summary = RunFolder(folder).read_summary()
            values[name] = _metric(summary["metrics"], figure)[1]["values"]
            seeds.add(tuple(summary["protocol"]["seed"]))
    return values, len(seeds) == 1


def _told(output: Path, comparison: Comparison) -> dict[str, list[str]]:
    """Return of each setting how much better it is than those that all are compared with, in percent."""
    values, paired = _values(output, comparison, comparison.task.score)
    told: dict[str, list[str]] = {name: [] for name in values}
    for reference in comparison.against:
        known = reference in values and paired
        pairs = {pair.first: pair for pair in differences_from(reference, values)} if known else {}
        for name, cells in told.items():
            cells.append(_difference(pairs[name]) if name in pairs else "")
    return told


def _difference(pair: PairedDifference) -> str:
    half = "" if pair.half_width is None else f" ± {100 * pair.half_width:.1f}"
    return f"{100 * pair.mean:+.1f}{half}" + (" *" if pair.more_than_noise else "")


def _notes(output: Path, comparison: Comparison) -> list[str]:
    """Return the lines below the table: what the settings start from, how they were chosen, what was tested."""
    notes = _weights(output, comparison)
    if comparison.grid:
        tried = "; ".join(f"{key} {', '.join(values)}" for key, values in comparison.grid.items())
        where = f"on {comparison.choose_on}" if comparison.choose_on else f"with {' '.join(comparison.tuning)}"
        notes.append(f"Chosen for each setting {where}, mean of {comparison.tuning_seeds} seeds: {tried}.")
    if comparison.against:
        names = " and ".join(comparison.against)
        notes.append(
            f"Less {names}: difference seed by seed with its 95 % interval; * where the paired t-test, after Holm's "
            "correction for all settings, finds more than noise."
        )
    return notes


def _weights(output: Path, comparison: Comparison) -> list[str]:
    """Return a line below the table that says what the settings start from."""
    summaries = [RunFolder(folder).read_summary() for folder in _finished(output, comparison)]
    bases = dict.fromkeys(f"{held['model']}: {weights_of(held)}" for held in summaries)
    return [f"Base weights: {'; '.join(bases)}."] if bases else []


def _refuse_other_data(output: Path, comparison: Comparison) -> None:
    """Refuse to put runs side by side that were tested on other objects, as after files were added."""
    tested: dict[str, Path] = {}
    for folder in _finished(output, comparison):
        if sha256 := RunFolder(folder).read_summary().get("data_sha256", {}).get("test"):
            tested.setdefault(sha256, folder)
    if len(tested) > 1:
        one, other, *_ = tested.values()
        raise PccloraError(
            f"{one} and {other} were tested on other objects (see their seeds' data.json): their figures cannot be "
            "compared; train the older one again, in another folder"
        )


def _finished(output: Path, comparison: Comparison) -> list[Path]:
    return [folder for name in comparison.settings if RunFolder(folder := folder_of(output, name, comparison)).finished]


def _further(test: Further, folder: Path, task: AnyTask) -> str:
    figure = test.figure(folder, task.score)
    return "" if figure is None else percent(figure["mean"], figure["std"])


def _percent(metrics: dict[str, Any], name: str) -> str:
    """Return a metric in percent; a selection on the test set shows in its name."""
    found, value = _metric(metrics, name)
    label = "" if found == name else f" ({found.removeprefix(name).strip('_').replace('_', ' ')})"
    return percent(value["mean"], value["std"]) + label


def _metric(metrics: dict[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """Return the one metric that ``name`` is the beginning of, beside those of votes."""
    ((found, value),) = [(key, value) for key, value in metrics.items() if key.startswith(name) and "votes" not in key]
    return found, value
