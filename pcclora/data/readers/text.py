"""Tables of text: txt, xyz, csv, asc, pts, xyzn, xyzrgb."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora import limits
from pcclora.data.readers.columns import guessed, named_by_header
from pcclora.data.readers.content import REMEDY, Content, content_of_columns, cut, quiet
from pcclora.data.readers.files import refuse_channels_first, unreadable
from pcclora.data.readers.numbers import (
    cells_of,
    count_lines,
    encoding_of,
    is_number,
    numbers,
    run_together,
    separator,
    without_comment,
)
from pcclora.errors import PccloraError
from pcclora.paths import check_regular

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_BY_SUFFIX = {
    ".xyzn": ("x", "y", "z", "nx", "ny", "nz"),
    ".xyzrgb": ("x", "y", "z", "red", "green", "blue"),
}


@dataclass(frozen=True)
class _Layout:
    """What stands before the first point.

    Attributes:
        skipped: Lines.
        delimiter: What separates numbers; None: blanks.
        columns: Numbers in the first row.
        headers: Lines that may name the columns.
        count: Points that a line of its own promises.
    """

    skipped: int
    delimiter: str | None
    columns: int
    headers: tuple[str, ...]
    count: int | None


def read_text(path: Path) -> NDArray[np.float64]:
    """Read rows of numbers, separated by commas, semicolons or white space.

    Comments (``#``, ``//``), lines without any number and the number of points may stand before them.

    Returns:
        (N, C) float64, all columns.

    Raises:
        PccloraError: If there is no row of at least three numbers, rows differ in length, or are fewer than promised.
    """
    values = _read(path)[0]
    refuse_channels_first(values.shape, path)
    return values


def read_table(path: Path, columns: tuple[str, ...] | None) -> Content:
    """Read a table whose columns the user names, or its header, or its suffix; else they are guessed."""
    values, layout = _read(path)
    if columns is not None:
        return content_of_columns(values, checked(columns, values.shape[1], path), named=True)
    named = (named_by_header(_words(line, layout.delimiter), layout.columns) for line in reversed(layout.headers))
    names = next((found for found in named if found is not None), _BY_SUFFIX.get(path.suffix.lower(), ()))
    if len(names) != values.shape[1]:
        refuse_channels_first(values.shape, path)
        counted = layout.count is not None or path.suffix.lower() == ".pts"
        names = guessed(values, "text", counted=counted)
        return content_of_columns(values, names, guessed=values.shape[1] > 3)
    return content_of_columns(values, names)


def checked(columns: tuple[str, ...], found: int, place: object) -> tuple[str, ...]:
    """Return the columns that a user names.

    Raises:
        PccloraError: If the table has not as many.
    """
    if len(columns) != found:
        raise PccloraError(f"{place}: {found} columns, but columns names {len(columns)}: {' '.join(columns)}")
    return columns


def _read(path: Path) -> tuple[NDArray[np.float64], _Layout]:
    check_regular(path)
    try:
        lines, encoding = count_lines(path), encoding_of(path)
        with path.open(encoding=encoding, errors="replace") as file:
            layout = _layout(file, path)
        limits.check_points(max(lines - layout.skipped, 1) * max(1, layout.columns // 10), path)
        values = _parse(path, encoding, layout)
    except PccloraError:
        raise
    except (OSError, ValueError) as error:
        raise unreadable(path, error, REMEDY) from error
    if layout.count is not None and len(values) != layout.count:
        raise cut(len(values), layout.count, "points that its count promises", path)
    return values, layout


def _parse(path: Path, encoding: str, layout: _Layout) -> NDArray[np.float64]:
    try:  # numpy alone is much faster, and reads most files
        with quiet():
            return np.loadtxt(
                path, delimiter=layout.delimiter, skiprows=layout.skipped, ndmin=2, comments=None, encoding=encoding
            )
    except ValueError:
        with path.open(encoding=encoding, errors="replace") as file:
            for _ in range(layout.skipped):
                next(file)
            return numbers(file, layout.delimiter)


def _layout(lines: Iterable[str], path: Path) -> _Layout:
    headers: list[str] = []
    count = None
    for number, line in enumerate(lines):
        row = without_comment(line)
        cells = cells_of(row) if row else []
        found = [is_number(cell) for cell in cells]
        if cells and run_together(cells):
            raise PccloraError(
                f"{path}: line {number + 1} has numbers that run together: '{row[:60]}'; put blanks between them"
            )
        if not any(found) and not _decimal_commas(row):
            headers.append(line)
        elif all(found) and len(cells) >= 3:
            return _Layout(number, separator(row), len(cells), tuple(headers), count)
        elif all(found) and len(cells) == 1 and row.isdecimal() and count is None:
            count = int(row)
        elif _decimal_commas(row):
            raise PccloraError(f"{path}: line {number + 1} has decimal commas: '{row[:60]}'; write numbers with points")
        elif all(found):
            raise PccloraError(
                f"{path}: a point is a row of at least three numbers, line {number + 1} has {len(cells)}"
            )
        else:
            raise PccloraError(
                f"{path}: line {number + 1} has numbers and words: '{row[:60]}'; put '#' before it if it is no point"
            )
    raise unreadable(path, "none of its lines is a row of at least three numbers", REMEDY)


def _decimal_commas(row: str) -> bool:
    words = re.split(r"[;\s]+", row)
    commas = [_DECIMAL_COMMA.fullmatch(word) is not None for word in words]
    return len(words) >= 3 and any(commas) and all(c or is_number(w) for c, w in zip(commas, words, strict=True))


def _words(line: str, delimiter: str | None) -> list[str]:
    bare = line.strip().lstrip("\ufeff#/").strip().rstrip(",;")
    return bare.split(delimiter if delimiter is None or delimiter in bare else None)
