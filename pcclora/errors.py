"""The one exception that pcclora raises for bad input: it names the value, the place and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class PccloraError(ValueError):
    """Bad input: a file, a value or a name that cannot be used. The message says what, where and how to mend it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, else the list of what is known.

    Args:
        name: What the user wrote.
        known: Every valid name.
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names) or 'none'}"
