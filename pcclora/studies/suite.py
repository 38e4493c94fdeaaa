"""The tasks of a suite, as the 19 of VTAB-1K, one after another or at once: each searched, trained, tested once.

::

    OUTPUT/config.yaml      the run that all tasks start from
    OUTPUT/suite.json       its tasks, points of the grid and seeds; it can only grow
    OUTPUT/summary.json, table.md
    OUTPUT/<task>/tuning/<point>/   runs that choose the settings
    OUTPUT/<task>/search.json       all points and the choice
    OUTPUT/<task>/final/<point>/    the run with the chosen settings, or one folder a seed

A data set without tasks has its folders in OUTPUT itself. What is finished is never run again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pcclora.atomic import read_json, write_json
from pcclora.config import to_yaml, with_overrides
from pcclora.data.sets.fgvc import TASKS as FGVC
from pcclora.data.sets.image_lists import SuiteTask
from pcclora.data.sets.vtab1k import TASKS as VTAB1K
from pcclora.engine.environment import make_accelerator, single_process
from pcclora.engine.loop import DivergenceError
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError, did_you_mean
from pcclora.forms import check_form
from pcclora.paths import is_file
from pcclora.registry import DATASETS
from pcclora.runs.adapt import train
from pcclora.runs.build import anchored
from pcclora.runs.prepare import prepare
from pcclora.runs.splits import load_splits
from pcclora.studies.grid import AS_GIVEN, Point, check_searchable, choose, point_name, read_search, write_point
from pcclora.studies.runner import HERE, Leaf, Workers, begin_study, run_leaves
from pcclora.studies.seeds import add_seeds, begin_seeds, holds_seeds, seed_leaves, write_seeds_summary
from pcclora.tasks.registry import load_run_config, task_of
from pcclora.tasks.settings import AdaptationRun

SUITES: Mapping[str, Mapping[str, SuiteTask]] = {"vtab1k": VTAB1K, "fgvc": FGVC}
"""Data sets of several tasks: name -> task -> its classes and group."""


@dataclass(frozen=True)
class Suite:
    """What is to be run.

    Attributes:
        tasks: Of the data set; the empty name is the one that the configuration names, if it has any.
        points: Of the grid; without any the settings are used as they are given.
        seeds: Of the final runs; without any one run with the configuration's own seed.
    """

    tasks: tuple[str, ...] = ("",)
    points: tuple[Point, ...] = ()
    seeds: tuple[int, ...] = ()

    def with_more(self, other: "Suite") -> "Suite":
        """Return this suite with what another adds to it."""
        return Suite(
            tasks=tuple(dict.fromkeys((*self.tasks, *filter(None, other.tasks)))),
            points=tuple(dict.fromkeys(self.points + other.points)),
            seeds=tuple(dict.fromkeys(self.seeds + other.seeds)),
        )

    @classmethod
    def read(cls, output: Path) -> "Suite":
        """Read what a folder was begun with.

        Raises:
            PccloraError: If suite.json is absent or damaged, or names what is no task.
        """
        held, form = read_json(output / "suite.json"), {"tasks": [str], "points": [[str]], "seeds": [int]}
        check_form(held, form, output / "suite.json", remedy="begin the suite again, in another folder")
        known = {"", *(task for table in SUITES.values() for task in table)}
        if strange := [task for task in held["tasks"] if task not in known]:  # each is a folder's name: none leads out
            raise PccloraError(
                f"{output / 'suite.json'}: '{strange[0]}' is no task; begin the suite again, in another folder"
            )
        return cls(tuple(held["tasks"]), tuple(map(tuple, held["points"])), tuple(held["seeds"]))

    def record(self) -> dict[str, Any]:
        """Return what suite.json holds."""
        return {"tasks": list(self.tasks), "points": list(map(list, self.points)), "seeds": list(self.seeds)}


def find_tasks(data: object, names: Iterable[str]) -> tuple[str, ...]:
    """Return the tasks of a data set by their names, by the names of their groups, or all of them.

    Args:
        data: The data set's config.
        names: As ``all``, ``natural``, ``cifar``.

    Raises:
        PccloraError: If a name is unknown (the message has the nearest), or the data set has no tasks.
    """
    dataset = DATASETS.name_of(data)
    if dataset not in SUITES:
        raise PccloraError(f"--tasks: data set '{dataset}' is one task; {' and '.join(SUITES)} have several")
    table, found = SUITES[dataset], set[str]()
    groups = {task.group.lower() for task in table.values()}
    for name in names:
        own = {task for task, held in table.items() if name in ("all", task) or name.lower() == held.group.lower()}
        if not own:
            raise PccloraError(f"--tasks: unknown task '{name}'{did_you_mean(name, [*table, *groups, 'all'])}")
        found |= own
    return tuple(task for task in table if task in found)


def holds_suite(folder: Path) -> bool:
    """Whether a folder was made by :func:`begin_suite`."""
    return is_file(folder / "suite.json")


def begin_suite(config: AdaptationRun, suite: Suite, output: Path) -> None:
    """Check all that a suite needs and make its folder.

    Args:
        config: The run that all tasks start from.
        suite: What is to be run.
        output: A new folder, or one that was begun with the same run and suite.

    Raises:
        PccloraError: If anything that one of the runs needs cannot be used, or the folder holds something else.
    """
    config = anchored(config)
    _check(config, suite, suite.tasks)
    begin_study(output, {"config.yaml": to_yaml(config), "suite.json": suite.record()})


def extend_suite(output: Path, more: Suite) -> None:
    """Add tasks, points or seeds to a suite that was begun.

    Raises:
        PccloraError: If one of the new runs cannot be used.
    """
    held = Suite.read(output)
    if held.tasks == ("",) and any(more.tasks):
        raise PccloraError(f"{output}: begun with the one task of its configuration; begin another folder for --tasks")
    if more.seeds and not held.seeds:
        raise PccloraError(f"{output}: begun without --seeds, one run a task; begin another folder for several")
    wanted = held.with_more(more)
    config = load_run_config(output / "config.yaml")
    _check(config, wanted, [task for task in wanted.tasks if task not in held.tasks])
    if wanted != held:
        write_json(output / "suite.json", wanted.record())


def run_suite(output: Path, workers: Workers = HERE) -> dict[str, Path]:
    """Run what is not finished of a suite.

    Args:
        output: From :func:`begin_suite`.
        workers: Who runs the points of all searches, and then the seeds of all tasks. A shard trains the tasks whose
            searches are finished, whichever shard ran them.

    Returns:
        Task -> the folder of its final run, or of its seeds; of finished tasks: all, unless shards leave some.

    Raises:
        PccloraError: If the settings of a task cannot be chosen, or a final run does not come to its end; what is
            finished stays.
    """
    suite, config = Suite.read(output), load_run_config(output / "config.yaml")
    figure = task_of(config).score
    searches = {task: [_search_leaf(output, task, point, figure) for point in suite.points] for task in suite.tasks}
    outcome = run_leaves([leaf for own in searches.values() for leaf in own], workers, title="searching")
    chosen: dict[str, Point] = {}
    for task, own in searches.items():
        if all(leaf.file.is_file() for leaf in own):
            try:
                chosen[task] = tuple(choose(output / task, suite.points, figure)["chosen"]) if own else ()
            except PccloraError as error:
                outcome.failed[_named(task, "search")] = str(error)
    finals = {task: _final_leaves(output, task, point, suite.seeds) for task, point in chosen.items()}
    places = [(task, place) for task in suite.tasks for place in range(len(suite.seeds) or 1)]
    own = [finals[task][place] for task, place in workers.share(places) if task in finals]
    trained = run_leaves(own, replace(workers, shard=(1, 1)), title="training")
    outcome.failed |= trained.failed
    outcome.diverged |= trained.diverged
    outcome.refuse_failures(f"--resume {output}")
    finished = [task for task, own in finals.items() if all(leaf.file.is_file() for leaf in own)]
    return {task: _gathered(output, task, chosen[task]) for task in finished}


def finished_tasks(output: Path) -> dict[str, Path]:
    """Return what :func:`run_suite` has finished of a suite: task -> the folder of its final run, or of its seeds.

    Raises:
        PccloraError: If a file of it is damaged.
    """
    suite, found = Suite.read(output), dict[str, Path]()
    for task in suite.tasks:
        search = output / task / "search.json"
        if not suite.points or search.is_file():
            folder = final_folder(output, task, read_search(search)["chosen"] if suite.points else ())
            if RunFolder(folder).finished:
                found[task] = folder
    return found


def final_folder(output: Path, task: str, point: Sequence[str]) -> Path:
    """Return the folder of a task's final run."""
    return output / task / "final" / (point_name(point) if point else AS_GIVEN)


def _check(config: AdaptationRun, suite: Suite, tasks: Iterable[str]) -> None:
    """Refuse what cannot be run, before anything is: every point resolves, every task's data are there and fit."""
    if not single_process():
        raise PccloraError("--tasks and --grid run on one process each; leave out accelerate launch and use --jobs")
    if suite.points:
        check_searchable(config, task_of(config).score)
    for point in suite.points:
        with_overrides(config, point, source=" ".join(point))
    for task in tasks:
        options = [*(suite.points[0] if suite.points else ()), *_options(task)]
        sides = [["data.tuning=true"], ["data.tuning=false"]] if suite.points else [[]]
        for side in sides:
            run = with_overrides(config, [*options, *side], source=f"task {task}")
            prepare(run, make_accelerator(config.train), load_splits(run))


def _options(task: str) -> list[str]:
    return [f"data.task={task}"] if task else []


def _named(task: str, what: str) -> str:
    return f"{task}, {what}" if task else what


def _search_leaf(output: Path, task: str, point: Point, figure: str) -> Leaf:
    file = output / task / "tuning" / point_name(point) / "point.json"
    return Leaf(_named(task, " ".join(point)), file, partial(_tune, output, task, point, figure))


def _tune(output: Path, task: str, point: Point, figure: str) -> None:
    folder = output / task / "tuning" / point_name(point)
    config = load_run_config(output / "config.yaml", [*point, *_options(task), "data.tuning=true"])
    try:
        train(config, folder, resume=(folder / "config.yaml").is_file())
    except DivergenceError as error:  # too high a rate is a finding, not a failure
        write_point(folder, point, figure, error=str(error))
    else:
        write_point(folder, point, figure)


def _final_leaves(output: Path, task: str, point: Point, seeds: Sequence[int]) -> list[Leaf]:
    """Return the final runs of a task whose settings are chosen; several seeds get their folder here."""
    folder = final_folder(output, task, point)
    if not seeds:
        return [Leaf(_named(task, "final run"), RunFolder(folder).summary, partial(_final, output, task, point))]
    if not holds_seeds(folder):
        begin_seeds(_final_config(output, task, point), folder, seeds)
    return seed_leaves(folder, add_seeds(folder, seeds), prefix=_named(task, ""))


def _final(output: Path, task: str, point: Point) -> None:
    folder = final_folder(output, task, point)
    train(_final_config(output, task, point), folder, resume=(folder / "config.yaml").is_file())


def _final_config(output: Path, task: str, point: Point) -> AdaptationRun:
    return load_run_config(output / "config.yaml", [*point, *_options(task)])


def _gathered(output: Path, task: str, point: Point) -> Path:
    """Return the folder of a task whose final runs are finished; their summaries say how the settings were chosen."""
    folder = final_folder(output, task, point)
    if holds_seeds(folder):
        write_seeds_summary(folder)
    if (search := output / task / "search.json").is_file():
        for run in (folder, *folder.glob("seed_*")):
            write_json(RunFolder(run).summary, RunFolder(run).read_summary() | {"search": read_search(search)})
    return folder
