"""Meshes: off of all kinds, obj and stl; materials and textures are never looked for."""

import codecs
import re
import struct
import warnings
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora import limits
from pcclora.data.base import IntArray
from pcclora.data.readers.content import REMEDY, RGB, Content, cut, mapped, triangulated
from pcclora.data.readers.numbers import as_declared, count_lines, encoding_of, filled, floats, numbers
from pcclora.errors import PccloraError

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_VERTEX = re.compile(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)")


def read_off(path: Path, _: object) -> Content:
    """Read vertices with their colours (COFF), and faces."""
    count_lines(path)
    with path.open(encoding=encoding_of(path), errors="replace") as file:
        lines = filled(line.split("#", maxsplit=1)[0] for line in file)
        color_at, vertices, faces = _off_header(lines)
        limits.check_points(vertices, path)
        limits.check_points(faces, path)
        table = numbers(islice(lines, vertices)) if vertices else np.empty((0, 3))
        if len(table) < vertices or table.shape[1] < 3:
            raise cut(len(table), vertices, "rows of three numbers", path)
        triangles = _polygons(islice(lines, faces), faces, vertices, path) if faces else None
    has_color = color_at and table.shape[1] >= color_at + 3
    colors = table[:, color_at : color_at + 4]
    if (colors > 1).any():  # of bytes, though all but the opacity be 0 or 1
        colors = as_declared(colors, np.dtype(np.uint8))
    fields = dict(zip(RGB, colors.T, strict=False)) if has_color else {}
    return Content(table[:, :3], fields, triangles)


def _off_header(lines: Iterator[str]) -> tuple[int, int, int]:
    """Return where in the row of a vertex its colour begins (0: nowhere), and the numbers of vertices and faces."""
    magic = re.fullmatch(r"(ST)?(C)?(N)?OFF(?!.*BINARY)\s*(.*)", next(lines, ""), re.IGNORECASE)
    if magic is None:
        raise ValueError("no text of an off file")
    counts = (magic[4] or next(lines, "")).split()
    return (6 if magic[3] else 3) if magic[2] else 0, int(counts[0]), int(counts[1])


def _polygons(lines: Iterable[str], faces: int, vertices: int, path: Path) -> IntArray:
    """Return the triangles (T, 3) of rows of a number of corners, the corners, and perhaps a colour."""
    corners, lengths = array("q"), array("q")
    for row in map(str.split, lines):
        count = int(row[0])
        if not 0 <= count < len(row):
            raise cut(len(row) - 1, count, f"corners of face {len(lengths)}", path)
        corners.extend(map(int, row[1 : count + 1]))
        lengths.append(count)
    if len(lengths) < faces:
        raise cut(len(lengths), faces, "faces", path)
    return triangulated(np.asarray(corners), np.asarray(lengths), vertices, path)


def read_obj(path: Path, _: object) -> Content:
    """Read vertices, with their colours where all have one, and faces, whose indices may count back.

    Lines on materials, textures and other files are passed over.
    """
    count_lines(path)
    points, colors, corners, lengths = array("d"), array("d"), array("q"), array("q")
    with path.open(encoding=encoding_of(path), errors="replace") as file:
        for kind, *words in _statements(file):
            if kind in ("v", "V"):
                values = floats(words)
                points.extend((values[0], values[1], values[2]))
                colors.extend(values[3:6] if len(values) in (6, 7) else ())  # four: a weight; seven: opacity
            elif kind in ("f", "F", "fo"):  # fo: of the first version of the format
                before = len(points) // 3
                corners.extend(_corner(int(word.split("/", maxsplit=1)[0]), before, path) for word in words)
                lengths.append(len(words))
    xyz, rgb = (np.asarray(values).reshape(-1, 3) for values in (points, colors))
    fields = dict(zip(RGB, rgb.T, strict=True)) if len(rgb) == len(xyz) else {}
    triangles = triangulated(np.asarray(corners), np.asarray(lengths), len(xyz), path) if lengths else None
    return Content(xyz, fields, triangles)


def _statements(lines: Iterable[str]) -> Iterator[list[str]]:
    """Pass on the words of the lines of an obj, without comments; a backslash at the end goes on below."""
    start = ""
    for line in lines:
        bare = start + line.split("#", maxsplit=1)[0].strip()
        start = f"{bare[:-1]} " if bare.endswith("\\") else ""
        if bare and not start:
            yield bare.split()


def _corner(index: int, before: int, path: Path) -> int:
    """Return which vertex (from 0) an index names: 1 is the first, -1 the last that stands before the face."""
    if index == 0 or -index > before:
        raise PccloraError(f"{path}: a face names vertex {index}, {before} stand before it; {REMEDY}")
    return index - 1 if index > 0 else before + index


def read_stl(path: Path, _: object) -> Content:
    """Read triangles, of text or binary; a binary header may begin with the word that marks a text."""
    data, size = mapped(path), path.stat().st_size
    promised = struct.unpack_from("<I", data, 80)[0] if size >= 84 else 0
    head = data[: 2**16].lower()
    text = (
        head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"solid")
        and b"\0" not in head[:512]
        and b"facet" in head
    )
    if text and size != 84 + _TRIANGLE.itemsize * promised:
        corners = _text_triangles(path)
    else:
        limits.check_points(promised, path)
        if not promised:
            raise ValueError("neither a text with facets nor a count of triangles")
        if 84 + _TRIANGLE.itemsize * promised > size:
            raise cut((size - 84) // _TRIANGLE.itemsize, promised, "triangles", path)
        corners = np.frombuffer(data, _TRIANGLE, promised, 84)["corners"].reshape(-1, 3)
        beyond = size - 84 - _TRIANGLE.itemsize * promised
        if beyond:
            warnings.warn(f"{path}: {beyond:,} bytes after the last of {promised:,} triangles left out", stacklevel=3)
    return Content(corners, {}, np.arange(len(corners)).reshape(-1, 3))


def _text_triangles(path: Path) -> NDArray[np.float64]:
    count_lines(path)
    content = path.read_bytes().lower()
    corners = _VERTEX.findall(content)
    facets = len(re.findall(rb"\bfacet\s+normal\b", content))
    if len(corners) != 3 * facets:
        raise cut(len(corners), 3 * facets, "corners of triangles", path)
    if b"endsolid" not in content:
        raise PccloraError(f"{path}: truncated, there is no 'endsolid'; {REMEDY}")
    return np.array(corners, dtype=np.float64)
