"""What the ``prepare.py`` of the data sets share: part after part is checked, and all that is wrong is one error."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pcclora.engine import console
from pcclora.errors import PccloraError


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
