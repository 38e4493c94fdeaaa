"""What ``--grid`` and ``--tasks`` of a train tool do: settings chosen on validation images, the tasks of a suite."""

import argparse
from collections.abc import Callable
from pathlib import Path

from pcclora.engine import console
from pcclora.engine.run_folder import RunFolder, default_output
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS, DATASETS, MODELS
from pcclora.runs.report import run_table
from pcclora.studies.grid import read_grid
from pcclora.studies.suite import Suite, begin_suite, extend_suite, find_tasks, holds_suite, run_suite
from pcclora.studies.suite_summary import write_suite_summary
from pcclora.tasks.base import AnyTask
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import AdaptationRun
from pcclora.tools.shared import cli


def add_suite_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add(
        "--grid",
        type=Path,
        metavar="FILE",
        help="YAML of key: [values], or a name; chosen on validation images",
    )
    add("--tasks", nargs="+", action="extend", default=[], metavar="NAME", help="all, a group or tasks of the data set")


def wants_suite(arguments: argparse.Namespace) -> bool:
    """Whether the arguments ask for a search or a suite, or resume one."""
    return bool(arguments.grid or arguments.tasks or (arguments.resume and holds_suite(arguments.resume)))


def run_suite_by_arguments(task: AnyTask, arguments: argparse.Namespace, *, draw: Callable[[RunFolder], None]) -> None:
    """Begin or go on with a suite, draw the pictures of its final runs, print its table.

    Args:
        task: What is trained.
        arguments: Of the tool, with its seeds as numbers.
        draw: Draws the pictures of a finished run.

    Raises:
        PccloraError: If anything that was asked for cannot be done.
    """
    # ``--tasks natural train.epochs=3``: what has a ``=`` was meant as an override
    arguments.overrides += [word for word in arguments.tasks if "=" in word]
    arguments.tasks = [word for word in arguments.tasks if "=" not in word]
    config, workers = _resolve(task, arguments), cli.workers_of(arguments)
    points = tuple(read_grid(arguments.grid)) if arguments.grid else ()
    tasks = find_tasks(config.data, arguments.tasks) if arguments.tasks else ("",)
    suite = Suite(tasks, points, tuple(arguments.seeds))
    if arguments.dry_run:
        cli.show_dry_run(config, arguments)
        return
    names = [DATASETS.name_of(config.data), MODELS.name_of(config.model), ADAPTERS.name_of(config.adapter)]
    output = arguments.resume or arguments.output or default_output(task.name, names)
    if arguments.resume:
        extend_suite(output, suite)
    else:
        begin_suite(config, suite, output)
    finals = run_suite(output, workers)
    if cli.leaves_to_others([name or "the run" for name in Suite.read(output).tasks if name not in finals], workers):
        return
    for final in finals.values():
        for run in sorted(final.glob("seed_*")) or [final]:
            draw(RunFolder(run))
    if list(finals) == [""]:
        console.write(run_table(RunFolder(finals[""]).read_summary(), finals[""]), kept=output)
    else:
        console.write(f"{write_suite_summary(output, finals)}folder: {output}\n", kept=output)


def _resolve(task: AnyTask, arguments: argparse.Namespace) -> AdaptationRun:
    """Return the run that all tasks start from; a suite that was begun has its own."""
    if arguments.resume is None:
        return cli.resolve(task.schema, arguments)
    if not holds_suite(arguments.resume):
        raise PccloraError(f"--resume {arguments.resume}: one run; begin another folder for --grid and --tasks")
    if extra := [*arguments.overrides, *(f"--{name}" for name in ("config", "output") if getattr(arguments, name))]:
        raise PccloraError(f"--resume {arguments.resume}: goes on as it was begun; leave out {' '.join(extra)}")
    return load_run_config(arguments.resume / "config.yaml")
