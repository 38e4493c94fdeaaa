"""What the ``train`` tools do: one run or several seeds of it, new or resumed, then pictures and a table."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from pcclora.commands import spelled
from pcclora.engine import console
from pcclora.engine.environment import agree, is_main_process
from pcclora.engine.run_folder import RunFolder, default_output
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS, MODELS
from pcclora.runs.adapt import train
from pcclora.runs.report import run_table
from pcclora.studies.runner import Outcome
from pcclora.studies.seeds import holds_seeds, resume_seeds, train_seeds
from pcclora.tasks.base import AnyTask
from pcclora.tasks.settings import data_name
from pcclora.tools.shared import cli
from pcclora.tools.shared.parser import Parser


def train_by_arguments(task: AnyTask, description: str | None, *, draw: Callable[[RunFolder], None], then: str) -> None:
    """Parse the command line, train, draw, print the table.

    Args:
        task: What is trained.
        description: The tool's docstring.
        draw: Draws the pictures of a finished run.
        then: The command to go on with, which takes ``--run``.

    Raises:
        PccloraError: If anything that was asked for cannot be done.
    """
    parser = train_parser(description)
    train_parsed(task, parse_training(parser), draw=draw, then=then)


def train_parser(description: str | None) -> Parser:
    """Build the parser of a train tool.

    Args:
        description: The tool's docstring.
    """
    parser = cli.make_parser(description)
    cli.add_run_options(parser)
    parser.add_argument("--seeds", nargs="+", default=[], metavar="N", help="one run a seed, and their mean")
    cli.add_study_options(parser)
    return parser


def parse_training(parser: Parser) -> argparse.Namespace:
    """Parse the command line of a train tool; ``seeds`` are numbers then.

    Raises:
        PccloraError: If a seed is none, or a plugin does not run.
    """
    arguments = cli.parse(parser)
    _take_seeds(arguments)
    return arguments


def train_parsed(task: AnyTask, arguments: argparse.Namespace, *, draw: Callable[[RunFolder], None], then: str) -> None:
    """Do what :func:`train_by_arguments` does, with arguments from :func:`parse_training`."""
    seeds, config, workers = arguments.seeds, cli.resolve(task.schema, arguments), cli.workers_of(arguments)
    if arguments.dry_run:
        cli.show_dry_run(config, arguments)
        return
    names = [data_name(config.data), MODELS.name_of(config.model), ADAPTERS.name_of(config.adapter)]
    output = arguments.resume or agree(config.train, arguments.output or default_output(task.name, names))
    outcome = Outcome()
    if arguments.resume and holds_seeds(output):
        outcome = resume_seeds(output, seeds=seeds, workers=workers)
    elif seeds:
        outcome = train_seeds(config, output, seeds=seeds, workers=workers)
    elif arguments.scheduler or arguments.shard:
        raise PccloraError("--scheduler and --shard share out several runs; this is one: give --seeds as well")
    else:
        train(config, output, resume=arguments.resume is not None)
    if is_main_process() and not cli.leaves_to_others(outcome.left, workers):
        runs = sorted(output.glob("seed_*")) if holds_seeds(output) else [output]
        _show(output, runs, draw)
        console.write(f"next: {spelled(then)} --run {shlex.quote(str(runs[0]))}\n", kept=output)


def _show(output: Path, runs: Sequence[Path], draw: Callable[[RunFolder], None]) -> None:
    for run in runs:
        draw(RunFolder(run))
    console.write(run_table(RunFolder(output).read_summary(), output), kept=output)


def _take_seeds(arguments: argparse.Namespace) -> None:
    """``--seeds 0 1 adapter.r=4``: what has a ``=`` was meant as an override."""
    arguments.overrides += [word for word in arguments.seeds if "=" in word]
    arguments.seeds = cli.whole_numbers("--seeds", [word for word in arguments.seeds if "=" not in word])
