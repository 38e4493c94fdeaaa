"""The options that all tools share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from pcclora.config import load_config, to_yaml
from pcclora.engine import console
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.paths import is_file
from pcclora.registry import load_plugin
from pcclora.studies.runner import Workers
from pcclora.tasks.registry import load_run_config
from pcclora.tools.shared.parser import Parser

T = TypeVar("T")


def make_parser(description: str | None) -> Parser:
    """Build a parser with the options of every tool.

    Args:
        description: The tool's docstring.
    """
    parser = Parser(description)
    parser.add_argument(
        "--plugin", type=Path, action="append", default=[], help="Python file that registers components"
    )
    parser.add_argument("--dry-run", action="store_true", help="resolve configuration and arguments, print, do nothing")
    return parser


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a tool that makes a run."""
    parser.add_argument(
        "--config", type=Path, help="YAML file or a name of `pcclora configs`; without it the embedded default"
    )
    parser.add_argument("--output", type=Path, help="folder of the run; it must not exist")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as adapter=lora adapter.r=4 train.epochs=10")


def add_study_options(parser: argparse.ArgumentParser, *, jobs: int = 1) -> None:
    """Add the options of a tool that runs studies: who runs their leaves.

    Args:
        parser: Of the tool.
        jobs: How many at the same time if nothing is said.
    """
    add, default = parser.add_argument, jobs or "one a core, one on a GPU"
    add("--jobs", type=int, default=jobs, metavar="N", help=f"at the same time; 0: one a core (default: {default})")
    add("--scheduler", default="", metavar="ADDRESS", help="run on a cluster: dask://HOST:PORT or ray://HOST:PORT")
    add("--shard", default="", metavar="I/N", help="run only this share, from 1/N to N/N, as in a SLURM array")


def workers_of(arguments: argparse.Namespace) -> Workers:
    """Return who runs the leaves of a study, by the options of :func:`add_study_options`.

    Raises:
        PccloraError: If they cannot be, or shards would not meet in one folder.
    """
    number, _, count = (arguments.shard or "1/1").partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise PccloraError(f"--shard {arguments.shard}: a share is expected, as 3/16")
    if arguments.shard and not arguments.output and not getattr(arguments, "resume", None):
        raise PccloraError(f"--shard {arguments.shard}: name the folder that all shards share, by --output")
    plugins = getattr(arguments, "plugin", ())
    return Workers(jobs=arguments.jobs, scheduler=arguments.scheduler, shard=(int(number), int(count)), plugins=plugins)


def leaves_to_others(left: Sequence[str], workers: Workers) -> bool:
    """Whether other shards have something to run yet; then it is said, in place of a table."""
    number, count = workers.shard
    if left and count > 1:
        console.write(
            f"shard {number}/{count} is done; others have {len(left)} to finish, as {left[0]}; the last of them makes "
            "the table, or the same command without --shard\n"
        )
    return bool(left) and count > 1


def add_trained_run_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options of a tool that uses a finished run."""
    parser.add_argument(
        "--run", type=Path, required=required, metavar="DIR", help="folder of a finished run, or its pack"
    )
    parser.add_argument("--checkpoint", metavar="FILE", help="the base checkpoint, if it has moved since")


def parse(parser: Parser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, ``key=value`` anywhere in it, and run the plugins.

    Raises:
        PccloraError: If a plugin does not run.
    """
    parsed = parser.parse_words(arguments)
    for plugin in parsed.plugin:
        load_plugin(plugin)
    return parsed


def resolve(schema: type[T], arguments: argparse.Namespace) -> T:
    """Return the configuration that the run options ask for; a resumed run has its own.

    All that it may be told anew is, by ``checkpoint=FILE``, where its base weights are now.

    Raises:
        PccloraError: If it is wrong, or if a resumed run is asked to be another.
    """
    if arguments.resume is None:
        return load_config(schema, file=arguments.config, overrides=arguments.overrides)
    moved = [word for word in arguments.overrides if word.startswith("checkpoint=")]  # the fingerprint is compared
    extra = [f"--{name}" for name in ("config", "output") if getattr(arguments, name)]
    extra += [word for word in arguments.overrides if word not in moved]
    if extra:
        raise PccloraError(f"--resume {arguments.resume}: goes on as it was begun; leave out {' '.join(extra)}")
    return load_config(schema, file=RunFolder(arguments.resume).config, overrides=moved)


def config_of(arguments: argparse.Namespace) -> object | None:
    """Return the configuration of ``--run``, or None where there is no such run: a dry run needs none."""
    file = RunFolder(arguments.run).config
    overrides = getattr(arguments, "overrides", [])
    return load_run_config(file, overrides) if is_file(file) else None


def whole_numbers(option: str, words: Sequence[str]) -> list[int]:
    """Return words as integers.

    Raises:
        PccloraError: Naming the option and the word that is none.
    """
    for word in words:
        if not word.isdecimal():
            raise PccloraError(f"{option} {word}: a whole number is expected")
    return [int(word) for word in words]


def show_dry_run(config: object | None, arguments: argparse.Namespace) -> None:
    """Print what a tool would do, as YAML: its arguments, and the resolved configuration if there is one."""
    held = {name: value for name, value in vars(arguments).items() if name not in ("overrides", "dry_run")}
    plain = {
        name: [str(v) for v in value] if isinstance(value, list) else value for name, value in held.items() if value
    }
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}
    lines = yaml.safe_dump(plain).splitlines() if plain else []
    shown = "".join(f"# {line}\n" for line in ("dry run: nothing was done", *lines))
    console.write(shown + (to_yaml(config) if config is not None else ""))
