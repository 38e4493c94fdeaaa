"""Whether there is a file, and what stands in a text, asked so that no path ends in another error than ours.

Python's own questions raise where the system refuses the path itself, as a name of 300 letters.
"""

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

from pcclora.errors import PccloraError

MOST_TEXT = 2**28
"""Bytes of a text that is read as a whole: lists of millions of names have fewer."""


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


def check_regular(path: Path) -> None:
    """Refuse what is there and is no file: a pipe is waited for without end, and ``/dev/zero`` read without end.

    Raises:
        PccloraError: If it is a folder, a device or a pipe.
    """
    if exists(path) and not is_file(path):
        raise PccloraError(f"{path}: a folder, a device or a pipe, not a file")


def read_text(path: Path) -> str:
    """Return the text of a list, a table or a JSON file; a mark of the byte order is left out.

    Raises:
        PccloraError: If it is no file, or larger than any such file.
        OSError: If it is absent or cannot be read.
        UnicodeDecodeError: If it is not UTF-8.
    """
    check_regular(path)
    if (size := path.stat().st_size) > MOST_TEXT:
        raise PccloraError(f"{path}: {size:,} bytes; a text of settings, names or results has at most {MOST_TEXT:,}")
    return path.read_text(encoding="utf-8-sig")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal; it may be larger than the memory.

    Raises:
        OSError: If it is absent or cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ask(path: Path, question: Callable[[Path], bool]) -> bool:
    try:
        return question(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # nothing has a name that the system refuses
            return False
        raise PccloraError(
            f"{path}: cannot be looked at ({error.strerror}); check the path and its permissions"
        ) from error
