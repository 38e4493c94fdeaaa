"""Meshes: off of all kinds, obj and stl; materials and textures are never looked for."""

import re
import struct
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora import limits
from pcclora.data.base import IntArray
from pcclora.data.readers.content import REMEDY, RGB, Content, cut, mapped, triangulated
from pcclora.data.readers.numbers import count_lines, filled, numbers, take
from pcclora.errors import PccloraError

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_VERTEX = re.compile(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)")


def read_off(path: Path, _: object) -> Content:
    """Read vertices with their colours (COFF), and faces."""
    count_lines(path)
    with path.open(encoding="latin-1") as file:
        lines = filled(line.split("#", maxsplit=1)[0] for line in file)
        color_at, vertices, faces = _off_header(lines)
        limits.check_points(vertices, path)
        limits.check_points(faces, path)
        rows, polygons = take(lines, vertices), take(lines, faces)
    if len(rows) + len(polygons) < vertices + faces:
        raise cut(len(rows) + len(polygons), vertices + faces, "rows", path)
    table = numbers(rows)
    if rows and table.shape[1] < 3:
        raise cut(table.shape[1], 3, "numbers in the row of a vertex", path)
    has_color = color_at and table.shape[1] >= color_at + 3
    fields = dict(zip(RGB, table[:, color_at : color_at + 3].T, strict=True)) if has_color else {}
    return Content(table[:, :3], fields, _polygons(polygons, vertices, path) if faces else None)


def _off_header(lines: Iterator[str]) -> tuple[int, int, int]:
    """Return where in the row of a vertex its colour begins (0: nowhere), and the numbers of vertices and faces."""
    magic = re.fullmatch(r"(ST)?(C)?(N)?OFF(?!.*BINARY)\s*(.*)", next(lines, ""))
    if magic is None:
        raise ValueError("no text of an off file")
    counts = (magic[4] or next(lines, "")).split()
    return (6 if magic[3] else 3) if magic[2] else 0, int(counts[0]), int(counts[1])


def _polygons(rows: list[str], vertices: int, path: Path) -> IntArray:
    """Return the triangles (T, 3) of rows of a number of corners, the corners, and perhaps a colour."""
    try:  # faces of one kind are one table
        table = numbers(rows)
        corners = int(table[0, 0])
        if corners < table.shape[1] and (table[:, 0] == corners).all():
            counts = np.full(len(rows), corners, dtype=np.int64)
            return triangulated(table[:, 1 : corners + 1].reshape(-1), counts, vertices, path)
    except ValueError as error:
        if isinstance(error, PccloraError):
            raise
    flat, lengths = list[str](), list[int]()
    for face, row in enumerate(map(str.split, rows)):
        corners = int(row[0])
        if not 0 <= corners < len(row):
            raise PccloraError(f"{path}: face {face} declares {row[0]} corners and has {len(row) - 1}; {REMEDY}")
        flat += row[1 : corners + 1]
        lengths.append(corners)
    return triangulated(np.array(flat, dtype=np.int64), np.array(lengths, dtype=np.int64), vertices, path)


def read_obj(path: Path, _: object) -> Content:
    """Read vertices, with their colours where all have one, and faces, whose indices may count back.

    Lines on materials, textures and other files are passed over.
    """
    count_lines(path)
    vertices, corners, lengths = list[str](), list[int](), list[int]()
    with path.open(encoding="latin-1") as file:
        for line in _joined(file):
            kind, _blank, rest = line.partition(" ")
            if kind == "v":
                vertices.append(rest)
            elif kind == "f":
                face = [int(corner.split("/", maxsplit=1)[0]) for corner in rest.split()]
                corners += [index - 1 if index > 0 else _back(index, len(vertices), path) for index in face]
                lengths.append(len(face))
    if not vertices:
        raise ValueError("no vertices in it")
    table = _equal_rows(vertices)
    fields = dict(zip(RGB, table[:, 3:6].T, strict=True)) if table.shape[1] == 6 else {}
    counts = np.array(lengths, dtype=np.int64)
    triangles = triangulated(np.array(corners, dtype=np.int64), counts, len(table), path) if lengths else None
    return Content(table[:, :3], fields, triangles)


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Pass on the lines of an obj without comments and with single blanks; a backslash at the end goes on below."""
    start = ""
    for line in lines:
        bare = start + line.split("#", maxsplit=1)[0].strip()
        start = f"{bare[:-1]} " if bare.endswith("\\") else ""
        if not start:
            yield " ".join(bare.split())


def _back(index: int, vertices: int, path: Path) -> int:
    """Return what a negative index names: -1 is the last vertex before the face."""
    if index == 0 or -index > vertices:
        raise PccloraError(f"{path}: a face names vertex {index}, {vertices} stand before it; {REMEDY}")
    return vertices + index


def _equal_rows(rows: list[str]) -> NDArray[np.float64]:
    """Return vertices as (N, 3 or more); where some have more numbers than others, x y z of each."""
    try:
        return numbers(rows)
    except ValueError:
        return numbers(" ".join(row.split()[:3]) for row in rows)


def read_stl(path: Path, _: object) -> Content:
    """Read triangles, of text or binary; a binary header may begin with the word that marks a text."""
    data, size = mapped(path), path.stat().st_size
    promised = struct.unpack_from("<I", data, 80)[0] if size >= 84 else 0
    text = data[:1024].lstrip().startswith(b"solid") and b"\0" not in data[:512] and data.find(b"facet", 0, 2**16) > 0
    if text and size != 84 + _TRIANGLE.itemsize * promised:
        corners = _text_triangles(path)
    else:
        limits.check_points(promised, path)
        if not promised or 84 + _TRIANGLE.itemsize * promised > size:
            raise cut(max(size - 84, 0) // _TRIANGLE.itemsize, promised, "triangles", path)
        corners = np.frombuffer(data, _TRIANGLE, promised, 84)["corners"].reshape(-1, 3)
        beyond = size - 84 - _TRIANGLE.itemsize * promised
        if beyond:
            warnings.warn(f"{path}: {beyond:,} bytes after the last of {promised:,} triangles left out", stacklevel=3)
    return Content(corners, {}, np.arange(len(corners)).reshape(-1, 3))


def _text_triangles(path: Path) -> NDArray[np.float64]:
    count_lines(path)
    content = path.read_bytes()
    corners = _VERTEX.findall(content)
    facets = len(re.findall(rb"\bfacet\b", content))
    if len(corners) != 3 * facets or b"endsolid" not in content:
        raise cut(len(corners), 3 * facets, "corners of triangles", path)
    return np.array(corners, dtype=np.float64)
