"""The command ``pcclora``: finds a tool by its name and hands it the rest of the line.

Nothing that takes time is imported before it is known what for: ``pcclora --help`` answers at once.
"""

import sys
from importlib import import_module

from pcclora.engine import process  # noqa: F401 - first: what a signal does while the rest is imported

# isort: split
from pcclora import __version__
from pcclora.commands import COMMANDS, RESUMING
from pcclora.engine import console
from pcclora.errors import PccloraError, did_you_mean
from pcclora.tools.shared.ending import run_tool


def main() -> None:
    """Run what the command line names."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        sys.argv = [f"pcclora {name}", *words]  # what argparse calls it in usage and errors
        run(name)
    else:
        run_tool(lambda: _answer(name))


def run(name: str, *words: str) -> None:
    """Run a tool: all that a file of ``tools/`` and a ``datasets/*/prepare.py`` does.

    Args:
        name: As in ``pcclora NAME``.
        words: Stand before those of the command line.
    """
    sys.argv[1:1] = words
    run_tool(import_module(f"pcclora.tools.{name.replace('-', '_')}").main, resumes=name in RESUMING)


def _answer(word: str) -> None:
    if word in ("-h", "--help"):
        lines = "".join(f"  {name:<14} {what}\n" for name, what in COMMANDS.items())
        console.write(f"usage: pcclora NAME ...    pcclora NAME --help says more\n\n{lines}")
    elif word == "--version":
        console.write(f"pcclora {__version__}\n")
    else:
        raise PccloraError(f"pcclora {word}: no such command{did_you_mean(word, COMMANDS)}")
