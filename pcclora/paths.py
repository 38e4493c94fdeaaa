"""Whether there is a file or a folder, asked so that no path ends in another error than ours.

Python's own questions raise where the system refuses the path itself, as a name of 300 letters.
"""

import errno
from collections.abc import Callable
from pathlib import Path

from pcclora.errors import PccloraError


def is_file(path: Path) -> bool:
    """Return whether there is such a file.

    Raises:
        PccloraError: If that cannot be told, as in a folder that may not be looked into.
    """
    return _ask(path, Path.is_file)


def is_dir(path: Path) -> bool:
    """Return whether there is such a folder; raises as :func:`is_file`."""
    return _ask(path, Path.is_dir)


def exists(path: Path) -> bool:
    """Return whether there is anything of that name; raises as :func:`is_file`."""
    return _ask(path, Path.exists)


def _ask(path: Path, question: Callable[[Path], bool]) -> bool:
    try:
        return question(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # nothing has a name that the system refuses
            return False
        raise PccloraError(
            f"{path}: cannot be looked at ({error.strerror}); check the path and its permissions"
        ) from error
