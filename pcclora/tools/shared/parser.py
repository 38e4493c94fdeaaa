"""The parser of all tools. It imports nothing that takes time."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pcclora.commands import spelled
from pcclora.engine import console


class Parser(argparse.ArgumentParser):
    """A parser for options and words in any order; what stands behind ``--`` are words, whatever they begin with.

    Args:
        description: The tool's docstring, which names commands as ``pcclora NAME``.
        prog: What it is called in usage; the program's own name without it.
    """

    def __init__(self, description: str | None, *, prog: str | None = None) -> None:
        super().__init__(
            prog, description=spelled(description or ""), formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def parse_words(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse the command line."""
        words = list(sys.argv[1:] if arguments is None else arguments)
        end = words.index("--") if "--" in words else len(words)
        return self.parse_intermixed_args([*words[:end], *map(_Word, words[end + 1 :])])

    def _parse_optional(self, arg_string: str) -> Any:
        return None if isinstance(arg_string, _Word) else super()._parse_optional(arg_string)

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is None or file is sys.stdout:
            console.write(message)
        else:
            console.complain(message.rstrip("\n"))


class _Word(str):
    """A word of the command line that is no option."""

    __slots__ = ()
