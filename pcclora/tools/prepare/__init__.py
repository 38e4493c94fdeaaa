"""``pcclora prepare``: checks a copy of a data set, and turns a slow form into a fast file. One file each."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from pcclora.engine import console
from pcclora.errors import PccloraError, did_you_mean

NAMES = ("fgvc", "modelnet40", "scanobjectnn", "shapenetpart", "vtab1k")


def main() -> None:
    """Hand the rest of the line to the data set that it names."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        usage = "usage: pcclora prepare NAME ROOT ...    pcclora prepare NAME --help says more"
        console.write(f"{usage}\n\nNAME: {', '.join(NAMES)}\n")
    elif name not in NAMES:
        raise PccloraError(f"prepare {name}: nothing to prepare is known of this data set{did_you_mean(name, NAMES)}")
    else:
        import_module(f"{__name__}.{name}").main(words)


def check_each(checks: Mapping[str, Callable[[], str]], *, remedy: str = "", kept: Path | None = None) -> None:
    """Check the parts of a copy of a data set in turn; say at once what is found, and at the end what is wrong.

    Args:
        checks: Name of a part -> what checks it and returns what was found and done.
        remedy: What to do where anything is wrong.
        kept: Where what was done lies, if anything was: then it is no failure that it cannot be shown.

    Raises:
        PccloraError: Naming all that is wrong with any part.
    """
    problems = []
    for part, check in checks.items():
        try:
            found = check()
        except PccloraError as error:
            problems.append(f"{part}: {error}")
        else:
            console.write(f"{part}: {found}\n", kept=kept)
    if problems:
        raise PccloraError("\n".join(problems) + (f"\n\n{remedy}" if remedy else ""))
