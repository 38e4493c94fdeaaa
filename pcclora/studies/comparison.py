"""Settings side by side: the same run with several seeds for each, as a table that says how to make each row again.

A finished seed is never trained again, and a setting that did not finish stays in the table, marked missing.
"""

import re
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pcclora.engine.run_folder import RunFolder
from pcclora.engine.summary import read_summary
from pcclora.errors import PccloraError
from pcclora.metrics.accuracy import spread
from pcclora.runs.evaluate import evaluate_run, write_evaluation
from pcclora.runs.report import CONSTANT, weights_of
from pcclora.studies.runner import HERE, Leaf, Outcome, Workers, run_leaves
from pcclora.studies.seeds import add_seeds, begin_seeds, holds_seeds, train_seed, write_seeds_summary
from pcclora.studies.tables import Table, best_of, percent
from pcclora.tasks.base import Task
from pcclora.tasks.registry import load_run_config, task_of
from pcclora.tasks.settings import AdaptationRun

COSTS = ("trained", "GMACs", "lit. GMACs", "s / epoch", "file")


@dataclass
class Comparison:
    """What a YAML file in ``configs/results/`` holds.

    Attributes:
        config: The configuration that all settings start from.
        seeds: Of each setting's runs.
        options: ``key=value`` for all settings.
        choose_on: A split of the data set that settings may be chosen on, as ``val``: every run is evaluated on it too.
        settings: Name of a setting -> its own ``key=value``.
    """

    config: str = ""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    options: list[str] = field(default_factory=list)
    choose_on: str = ""
    settings: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a comparison of nothing."""
        if not self.config or not self.settings:
            raise PccloraError("a comparison needs a config and settings")

    def run(self, name: str, extra: list[str]) -> AdaptationRun:
        """Return the run of one setting, with further options."""
        return load_run_config(Path(self.config), [*self.options, *self.settings[name], *extra])

    @property
    def task(self) -> Task:
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
    runs = {name: comparison.run(name, options) for name in comparison.settings}  # a wrong one shows before any trains
    leaves: dict[Path, list[Leaf]] = {}
    for name, run in runs.items():
        folder = folder_of(output, name)
        if not holds_seeds(folder):
            begin_seeds(run, folder, comparison.seeds)
        leaves[folder] = [
            _leaf(f"{name}, seed {seed}", folder, seed, comparison.choose_on) for seed in add_seeds(folder, ())
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
    headings = list(task.figures.values())
    choice = [f"{headings[0]} to choose on"] if split else []
    found = Table(["setting", *choice, *headings, *COSTS, "options"], notes=_weights(output, comparison))
    for name, own in comparison.settings.items():
        folder = folder_of(output, name)
        chosen = [_chosen_on(folder, task, split)] if split else []
        found.rows.append([name, *chosen, *_figures(folder, task), f"`{' '.join(own)}`"])
    found.rows += _constant(output, comparison)
    for column, figure in enumerate(task.figures, 1 + len(choice)):
        found.best |= {(place, column) for place in _best(comparison, output, figure)}
    return found


def folder_of(output: Path, name: str) -> Path:
    """Return the folder of one setting."""
    return output / re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _leaf(name: str, folder: Path, seed: int, split: str) -> Leaf:
    run = folder / f"seed_{seed}"
    kept = RunFolder(folder).finished and not run.exists()  # the setting's numbers were kept, its runs were not
    file = folder / "summary.json" if kept else run / split / "summary.json"
    return Leaf(name, file, partial(_train, folder, seed, split))


def _train(folder: Path, seed: int, split: str) -> None:
    run = train_seed(folder, seed)
    if split and not (run / split / "summary.json").is_file():
        write_evaluation(evaluate_run(RunFolder.open(run), split=split), run / split)


def _figures(folder: Path, task: Task) -> list[str]:
    if not RunFolder(folder).finished:
        return ["missing", *[""] * (len(task.figures) + len(COSTS) - 1)]
    summary = RunFolder(folder).read_summary()
    gmacs = summary["gmacs"]
    return [
        *(_percent(summary["metrics"], name) for name in task.figures),
        f"{summary['parameters']['trained']:,}",
        f"{gmacs['total']:.4f}",
        f"{gmacs['literature']:.4f}",
        f"{summary['seconds_per_epoch']['mean']:.1f}",
        f"{summary['adapter_bytes'] / 1000:.0f} kB",
    ]


def _constant(output: Path, comparison: Comparison) -> list[list[str]]:
    """Return the row of an answer that needs no model, if the task has one: it is the same for all settings."""
    finished = _finished(output, comparison)
    held = RunFolder(finished[0]).read_summary().get("constant") if finished else None
    if not held:
        return []
    figures = [f"{100 * value:.1f}" for value in held.values()]
    if split := comparison.choose_on:
        files = list(finished[0].glob(f"seed_*/{split}/summary.json"))
        chosen = [_evaluation(file)["constant"][comparison.task.score] for file in files[:1]]
        figures = [f"{100 * chosen[0]:.1f}" if chosen else "", *figures]
    return [[CONSTANT, *figures, "0", *[""] * len(COSTS)]]


def _best(comparison: Comparison, output: Path, figure: str) -> set[int]:
    """Return the places of the settings that no other is told to be better than."""
    values, seeds = {}, set()
    for name in comparison.settings:
        if RunFolder(folder := folder_of(output, name)).finished:
            summary = RunFolder(folder).read_summary()
            values[name] = _metric(summary["metrics"], figure)[1]["values"]
            seeds.add(tuple(summary["protocol"]["seed"]))
    best = best_of(values, paired=len(seeds) == 1) if values else set()
    return {place for place, name in enumerate(comparison.settings) if name in best}


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
    return [folder for name in comparison.settings if RunFolder(folder := folder_of(output, name)).finished]


def _chosen_on(folder: Path, task: Task, split: str) -> str:
    files = folder.glob(f"seed_*/{split}/summary.json") if RunFolder(folder).finished else ()
    values = [_evaluation(file)["metrics"][task.score] for file in files]
    return _percent({task.score: asdict(spread(values))}, task.score) if values else ""


def _evaluation(file: Path) -> dict[str, Any]:
    return read_summary(file, evaluation=True, remedy=f"delete {file.parent}, and it is evaluated again")


def _percent(metrics: dict[str, Any], name: str) -> str:
    """Return a metric in percent; a selection on the test set shows in its name."""
    found, value = _metric(metrics, name)
    label = "" if found == name else f" ({found.removeprefix(name).strip('_').replace('_', ' ')})"
    return percent(value["mean"], value["std"]) + label


def _metric(metrics: dict[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """Return the one metric that ``name`` is the beginning of, beside those of votes."""
    ((found, value),) = [(key, value) for key, value in metrics.items() if key.startswith(name) and "votes" not in key]
    return found, value
