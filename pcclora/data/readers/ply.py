"""Polygon files (ply): text and binary of both byte orders, with lists of any length."""

import codecs
import math
import re
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcclora import limits
from pcclora.data.base import IntArray
from pcclora.data.readers.content import REMEDY, XYZ, Content, cut, mapped, triangulated
from pcclora.data.readers.numbers import as_declared, count_lines, filled, numbers
from pcclora.errors import PccloraError

_LONGEST_HEADER = 2**20
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8", "int64": "i8", "uint64": "u8"},
}
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_STRUCT = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}
_FACES = ("vertex_indices", "vertex_index")


class _Property(NamedTuple):
    name: str
    type: np.dtype[Any]
    length: np.dtype[Any] | None
    """Type of the number of values that stands before a list; None for a single value."""


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[_Property]


class _List(NamedTuple):
    """Values of all rows, one after the other, and how many there are of each."""

    values: NDArray[Any]
    lengths: IntArray


_Values = dict[str, NDArray[Any] | _List]


def read_ply(path: Path, _: object) -> Content:
    """Read vertices with all their properties, and faces."""
    encoding, elements, start = _header(path)
    found = _text(path, elements, start) if encoding == "ascii" else _binary(path, elements, start)
    vertex = {name: value for name, value in found.get("vertex", {}).items() if not isinstance(value, _List)}
    axes = {name.lower(): name for name in vertex if name.lower() in XYZ}
    if len(axes) < 3:
        raise PccloraError(f"{path}: no vertices with x, y and z in this ply; {REMEDY}")
    points = np.stack([vertex.pop(axes[axis]) for axis in XYZ], axis=1)
    faces, strips = (_corners(found.get(name, {})) for name in ("faces" if "faces" in found else "face", "tristrips"))
    if strips is not None:
        faces = _unrolled(strips, faces)
    triangles = None if faces is None else triangulated(*faces, len(points), path)
    return Content(points, vertex, triangles)


def _corners(values: _Values) -> _List | None:
    """Return the list that names vertices: of the usual name in any case, or the only one there is."""
    lists = {name.lower(): value for name, value in values.items() if isinstance(value, _List)}
    named = next((lists[name] for name in _FACES if name in lists), None)
    return next(iter(lists.values())) if named is None and len(lists) == 1 else named


def _unrolled(strips: _List, faces: _List | None) -> _List:
    """Return the triangles of strips, as scanners of Stanford and VTK write them, behind the faces; -1 ends a strip."""
    corners = strips.values.astype(np.int64)
    ends = np.zeros(len(corners), dtype=bool)
    ends[np.cumsum(strips.lengths[strips.lengths > 0])[:-1]] = True  # the first corner of each further list
    strip = np.cumsum(ends | (corners == -1))
    inside = (strip[2:] == strip[:-2]) & (corners[:-2] != -1)
    triangles = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)[inside]
    own = _List(triangles.reshape(-1), np.full(len(triangles), 3))
    return own if faces is None else _List(*(np.concatenate(both) for both in zip(faces, own, strict=True)))


def _header(path: Path) -> tuple[str, list[_Element], int]:
    """Return the encoding, what the body holds, and where that begins."""
    with path.open("rb") as file:
        head = file.read(_LONGEST_HEADER)
    end = re.search(rb"[\r\n]\s*end_header[ \t]*", head)
    if not head.removeprefix(codecs.BOM_UTF8)[:3].lower() == b"ply" or end is None:
        raise ValueError("no header of a ply")
    text = head[: end.start()].decode("latin-1")  # comments may be in any encoding
    after = head[end.end() : end.end() + 2]
    line_end = 2 if after == b"\r\n" else 1
    encoding, elements = "", list[_Element]()
    for words in map(str.split, re.split(r"[\r\n]+", text)):
        match words:
            case ["format", encoding, *_] if encoding in _ORDERS:
                pass
            case ["element", name, count]:
                limits.check_points(int(count), path)
                elements.append(_Element(name.lower(), int(count), []))
            case ["property", "list", length, kind, name]:
                elements[-1].properties.append(_Property(name, _type(kind, encoding), _type(length, encoding)))
            case ["property", kind, name]:
                elements[-1].properties.append(_Property(name, _type(kind, encoding), None))
    if encoding not in _ORDERS or any(element.count < 0 for element in elements):
        raise ValueError("the header names no known format")
    return encoding, elements, end.end() + line_end


def _type(name: str, encoding: str) -> np.dtype[Any]:
    return np.dtype(_ORDERS[encoding] + _TYPES[name.lower()])


def _text(path: Path, elements: list[_Element], start: int) -> dict[str, _Values]:
    count_lines(path)
    found: dict[str, _Values] = {}
    with path.open("rb") as file:
        file.seek(start)
        lines = filled(TextIOWrapper(file, encoding="latin-1"))
        for element in elements:
            if any(p.length is not None for p in element.properties):
                found[element.name] = _text_lists(islice(lines, element.count), element, path)
            else:
                found[element.name] = _text_rows(lines, element, path)
    return found


def _text_rows(lines: Iterator[str], element: _Element, path: Path) -> _Values:
    rows = numbers(islice(lines, element.count)) if element.count else np.empty((0, len(element.properties)))
    if len(rows) < element.count:
        raise cut(len(rows), element.count, f"rows of {element.name}", path)
    if rows.shape[1] < len(element.properties):
        raise cut(rows.shape[1], len(element.properties), f"numbers in a row of {element.name}", path)
    return {p.name: as_declared(rows[:, i], p.type) for i, p in enumerate(element.properties)}


def _text_lists(lines: Iterable[str], element: _Element, path: Path) -> _Values:
    cells, lengths = [array("d") for _ in element.properties], [array("q") for _ in element.properties]
    found = 0
    for row in map(str.split, lines):
        at, found = 0, found + 1
        for cell, own, p in zip(cells, lengths, element.properties, strict=True):
            length = 1
            if p.length is not None:
                length, at = int(row[at]) if at < len(row) else 1, at + 1
                own.append(length)
            if length < 0 or at + length > len(row):
                raise cut(len(row), at + length, f"numbers in a row of {element.name}", path)
            cell.extend(map(float, row[at : at + length]))
            at += length
    if found < element.count:
        raise cut(found, element.count, f"rows of {element.name}", path)
    values = [as_declared(np.array(cell), p.type) for cell, p in zip(cells, element.properties, strict=True)]
    return {
        p.name: value if p.length is None else _List(value, np.array(own))
        for p, value, own in zip(element.properties, values, lengths, strict=True)
    }


def _binary(path: Path, elements: list[_Element], start: int) -> dict[str, _Values]:
    data, at = mapped(path), start
    found: dict[str, _Values] = {}
    for element in elements:
        if not element.count or not element.properties:
            continue
        row = _row_type(data, at, element)
        even = element.count * row.itemsize <= len(data) - at
        if not even and all(p.length is None for p in element.properties):
            raise cut((len(data) - at) // row.itemsize, element.count, f"rows of {element.name}", path)
        values = _even(np.frombuffer(data, row, element.count, at), element) if even else None
        if values is not None:
            found[element.name], at = values, at + element.count * row.itemsize
        else:
            found[element.name], at = _uneven(data, at, element, path)
    return found


def _row_type(data: mmap, start: int, element: _Element) -> np.dtype[Any]:
    """Return the type of the first row: that of all rows where lists have one length."""
    fields: list[tuple[str, np.dtype[Any], tuple[int, ...]]] = []
    at = start
    for i, p in enumerate(element.properties):
        shape: tuple[int, ...] = ()
        if p.length is not None:
            fields.append((f"length {i}", p.length, ()))
            kind = _length_struct(p.length)
            (length,) = kind.unpack_from(data, at) if at + kind.size <= len(data) else (0,)
            shape = (min(max(length, 0), len(data)),)  # what is longer than the file is found out below
            at += kind.size
        fields.append((f"value {i}", p.type, shape))
        at += p.type.itemsize * math.prod(shape)
    return np.dtype(fields)


def _even(rows: NDArray[Any], element: _Element) -> _Values | None:
    """Return the values of rows whose lists have one length, or None where they have not."""
    values: _Values = {}
    for i, p in enumerate(element.properties):
        value = rows[f"value {i}"]
        if p.length is None:
            values[p.name] = value
            continue
        lengths = rows[f"length {i}"].astype(np.int64)
        if (lengths != value.shape[1]).any():
            return None
        values[p.name] = _List(value.reshape(-1), lengths)
    return values


def _uneven(data: mmap, start: int, element: _Element, path: Path) -> tuple[_Values, int]:
    """Return the values of rows whose lists vary in length, and where they end."""
    heads, lengths, rows, end = _walk(data, start, element, path)
    values: _Values = {}
    at, done = rows, 0
    for p in element.properties:
        if p.length is None:
            values[p.name] = _gather(data, at, p.type)
            at = at + p.type.itemsize
        else:
            own, count = heads[:, done], lengths[:, done]
            inner = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            values[p.name] = _List(_gather(data, np.repeat(own, count) + inner * p.type.itemsize, p.type), count)
            at, done = own + count * p.type.itemsize, done + 1
    return values, end


def _walk(data: mmap, start: int, element: _Element, path: Path) -> tuple[IntArray, IntArray, IntArray, int]:
    """Step from list to list.

    Returns:
        Where the values of each list begin (R, L) and how many there are (R, L), where each row begins (R,), and where
        the last one ends.
    """
    steps: list[tuple[int, struct.Struct, int]] = []
    gap = 0
    for p in element.properties:
        if p.length is None:
            gap += p.type.itemsize
        else:
            steps.append((gap, _length_struct(p.length), p.type.itemsize))
            gap = 0
    heads, lengths, rows, at = array("q"), array("q"), array("q"), start
    try:
        for _ in range(element.count):
            rows.append(at)
            for before, kind, size in steps:
                at += before
                (length,) = kind.unpack_from(data, at)
                at += kind.size
                heads.append(at)
                lengths.append(length)
                at += length * size
            at += gap
    except struct.error:
        at = len(data) + 1
    if at > len(data) or len(rows) < element.count:
        raise cut(len(rows) - 1, element.count, f"rows of {element.name}", path)
    found = np.array(lengths).reshape(element.count, -1)
    if found.size and found.min() < 0:
        raise ValueError(f"a list of {found.min()} values")
    return np.array(heads).reshape(found.shape), found, np.array(rows), at


def _gather(data: mmap, starts: IntArray, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return the values (N,) that begin at these bytes."""
    values = np.frombuffer(data, np.uint8)[starts[:, None] + np.arange(kind.itemsize)]
    return values.view(kind)[:, 0] if len(starts) else np.empty(0, kind)


def _length_struct(kind: np.dtype[Any]) -> struct.Struct:
    if kind.kind == "f":
        raise ValueError("a list whose length is a fraction")
    return struct.Struct((">" if kind.str[0] == ">" else "<") + _STRUCT[kind.str[1:]])
