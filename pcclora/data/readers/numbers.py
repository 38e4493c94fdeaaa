"""Lines of text -> numbers, in every way that programs write them."""

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora import limits
from pcclora.data.readers.content import REMEDY, quiet
from pcclora.errors import PccloraError

_LONGEST_LINE = 2**20
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?"
_MISSING = r"[+-]?(?:nan(?:\(\w*\))?|inf(?:inity)?|1\.#\w+)"  # 1.#QNAN, -1.#IND, nan(ind): as Microsoft's C writes NaN
_IS_NUMBER = re.compile(f"{_NUMBER}|{_MISSING}", re.ASCII | re.IGNORECASE)
_FRACTION = r"\d*\.\d+(?:[eEdD][+-]?\d+)?"
_RUN_TOGETHER = re.compile(rf"[+-]?{_FRACTION}(?:[+-]{_FRACTION})+", re.ASCII)
_FORTRAN = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")
_MICROSOFT = re.compile(r"[+-]?(?:nan\(\w*\)|1\.#\w+)", re.ASCII | re.IGNORECASE)
_COMMENT = re.compile(r"#|//")


def is_number(cell: str) -> bool:
    """Return whether a cell holds one number; NaN is one."""
    return _IS_NUMBER.fullmatch(cell) is not None


def run_together(cells: Iterable[str]) -> bool:
    """Return whether every cell holds several fractions with nothing between them, as Fortran's fixed columns have."""
    return all(_RUN_TOGETHER.fullmatch(cell) is not None for cell in cells)


def without_comment(line: str) -> str:
    """Return what stands before ``#`` or ``//``, without blanks and separators at its end or quotes."""
    bare = line.replace('"', "").replace("1.#", "1.\0")  # the mark in 1.#QNAN begins no comment
    return _COMMENT.split(bare, maxsplit=1)[0].replace("\0", "#").strip().rstrip(",; \t").lstrip("\ufeff")


def separator(row: str) -> str | None:
    """Return what stands between the cells of a row: a comma, a semicolon, or None for blanks."""
    return next((mark for mark in (",", ";") if mark in row), None)


def cells_of(row: str) -> list[str]:
    """Return the cells of a row."""
    return [cell.strip() for cell in row.split(separator(row))]


def numbers(lines: Iterable[str], delimiter: str | None = None) -> NDArray[np.float64]:
    """Read rows of numbers of equal length; comments, empty lines and separators at the ends are left out.

    Returns:
        (N, C); of no rows, (0, 1).

    Raises:
        ValueError: If a cell is no number, or rows differ in length.
    """
    rows = (_plain(row) for line in lines if (row := without_comment(line)))
    try:
        with quiet():
            return np.loadtxt(rows, delimiter=delimiter, ndmin=2, comments=None)
    except ValueError as error:  # what numpy advises is for who calls it
        raise ValueError(str(error).partition("; use `usecols`")[0]) from error


def floats(words: list[str]) -> list[float]:
    """Return the numbers of one row.

    Raises:
        ValueError: If a word is none.
    """
    try:
        return list(map(float, words))
    except ValueError:
        return [float(_plain(word)) for word in words]


def _plain(row: str) -> str:
    return _FORTRAN.sub("e", _MICROSOFT.sub("nan", row))


def as_declared(values: NDArray[np.float64], kind: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers in the type that a text declares, where it can hold them: a colour of 1 of 255 is no fraction."""
    fits = kind.kind == "f" or (np.isfinite(values).all() and (np.abs(values) < 2**53).all())
    return values.astype(np.int64) if kind.kind in "iu" and fits else values


def encoding_of(path: Path) -> str:
    """Return how to decode a text: latin-1 takes any bytes, and what is not ASCII stands in comments only."""
    with path.open("rb") as file:
        mark = file.read(3)
    if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig" if mark == codecs.BOM_UTF8 else "latin-1"


def filled(lines: Iterable[str]) -> Iterator[str]:
    """Pass on the lines that are not empty, without the blanks around them."""
    return (bare for line in lines if (bare := line.strip()))


def count_lines(path: Path) -> int:
    """Return how many lines a text has, before any of them is read.

    Raises:
        PccloraError: If one is so long that it is no row of numbers, or they are more than a cloud may have points.
    """
    count = 1
    with path.open("rb") as file:
        while chunk := file.read(_LONGEST_LINE):
            breaks = chunk.count(b"\n") or chunk.count(b"\r")
            if not breaks and len(chunk) == _LONGEST_LINE:
                raise PccloraError(f"{path}: a line of more than a million characters is no row of numbers; {REMEDY}")
            count += breaks
    limits.check_points(count - 1, path)
    return count
