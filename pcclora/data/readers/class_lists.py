"""The small files beside data that say what there is: names of classes in text, lists and tables in JSON."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pcclora.atomic import load_json
from pcclora.data.readers.files import DOWNLOAD_AGAIN, read_lines, unreadable
from pcclora.errors import PccloraError
from pcclora.text import same_name


def read_class_names(path: Path) -> list[str]:
    """Return the names of classes of a text file, one a line; the line is the label.

    Raises:
        PccloraError: If it is absent, empty or no text, or names a class twice.
    """
    names = read_lines(path)
    check_distinct(names, path)
    return names


def check_distinct(names: Iterable[str], place: object) -> None:
    """Refuse a list that names a class twice: which of the two labels is meant?

    Raises:
        PccloraError: Naming the class, and both of its lines.
    """
    lines: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if (before := lines.setdefault(same_name(name), line)) != line:
            raise PccloraError(f"{place}: class '{name}' is named twice, as number {before} and {line}; name each once")


def load_table(path: Path, remedy: str = DOWNLOAD_AGAIN) -> Any:
    """Read a JSON file that came with data.

    Args:
        path: The file.
        remedy: What to do where it cannot be used.

    Raises:
        PccloraError: If it is absent or damaged, with the likeliest cause.
    """
    try:
        return load_json(path)
    except PccloraError as error:
        raise unreadable(path, str(error).removeprefix(f"{path}: "), remedy) from error
