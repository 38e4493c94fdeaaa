"""The options that all tools share, and how they end: PccloraError is one clean message and exit code 2."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from pcclora.config import load_config, to_yaml
from pcclora.engine.run_folder import RunFolder
from pcclora.engine.tasks import load_run_config
from pcclora.errors import PccloraError
from pcclora.registry import load_plugin

T = TypeVar("T")


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Build a parser with the options of every tool.

    Args:
        description: The tool's docstring.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--plugin", type=Path, action="append", default=[], help="Python file that registers components"
    )
    parser.add_argument("--dry-run", action="store_true", help="resolve configuration and arguments, print, do nothing")
    return parser


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a tool that makes a run."""
    parser.add_argument("--config", type=Path, help="YAML file; without it the embedded default")
    parser.add_argument("--output", type=Path, help="folder of the run; it must not exist")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as adapter=lora adapter.r=4 train.epochs=10")


def add_trained_run_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options of a tool that uses a finished run."""
    parser.add_argument("--run", type=Path, required=required, metavar="DIR", help="folder of a finished run")
    parser.add_argument("--checkpoint", metavar="FILE", help="the base checkpoint, if it has moved since")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, ``key=value`` anywhere in it, and run the plugins.

    Raises:
        PccloraError: If a plugin does not run.
    """
    parsed = parser.parse_intermixed_args(arguments)
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
    return load_run_config(file, overrides) if file.is_file() else None


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
    sys.stdout.write("# dry run: nothing was done\n")
    sys.stdout.write("".join(f"# {line}\n" for line in yaml.safe_dump(plain).splitlines()) if plain else "")
    sys.stdout.write(to_yaml(config) if config is not None else "")


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool's main function: messages to stderr, bad input as one message with exit code 2."""
    handler = _ProgressSafeHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("pcclora")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        main()
        _leave_together()
    except PccloraError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the run goes on from its last checkpoint by --resume\n")
        sys.exit(130)
    finally:
        logger.removeHandler(handler)


def _leave_together() -> None:
    """End the processes of ``accelerate launch``: one that just exits takes the connections from the others."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        # gloo's threads can abort an orderly exit: "terminate called without an active exception"
        os._exit(0)


class _ProgressSafeHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes above a progress bar, not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)
