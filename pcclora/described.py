"""What the fields of a configuration mean: the words of its docstring."""

import inspect
import re

_SECTION = re.compile(r"^(?:Attributes|Args):\n", re.MULTILINE)
_FIELD = re.compile(r" {4}(\w+): (.*)")


def described(schema: type) -> dict[str, str]:
    """Return field -> its description in one line, from the docstrings of a class and those it inherits.

    Args:
        schema: A dataclass with a docstring in Google's form, with its fields under ``Attributes`` or ``Args``.
    """
    found: dict[str, str] = {}
    for owner in reversed(schema.__mro__):
        section = _SECTION.split(inspect.cleandoc(owner.__doc__ or ""), maxsplit=1)[-1]
        name = ""
        for line in section.splitlines():
            if field := _FIELD.fullmatch(line):
                name, found[field[1]] = field[1], field[2]
            elif line.startswith(" " * 8) and name:
                found[name] += f" {line.strip()}"
            elif line.strip():
                break
    return found


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring or a page, in one line; a page's heading is left out."""
    page = re.sub(r"\A#.*\n+", "", inspect.cleandoc(text))
    first = " ".join(page.partition("\n\n")[0].split())
    return re.split(r"(?<=[.]) (?=[A-Z])", first)[0]
