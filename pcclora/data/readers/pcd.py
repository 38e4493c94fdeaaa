"""Point clouds of PCL (pcd): text, binary and compressed."""

import codecs
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora import limits
from pcclora.data.readers.content import REMEDY, RGB, XYZ, Content, cut, mapped
from pcclora.data.readers.numbers import as_declared, count_lines, filled, numbers
from pcclora.errors import PccloraError

_MOST_HEADER_LINES = 1000
_PACKED = ("rgb", "rgba")
_KINDS = {"F": "f", "I": "i", "U": "u"}
_KEYS = ("version", "fields", "columns", "size", "type", "count", "width", "height", "viewpoint", "points", "data")


@dataclass(frozen=True)
class _Field:
    name: str
    type: np.dtype[Any]
    count: int

    @property
    def bytes(self) -> int:
        """Bytes of a point."""
        return self.type.itemsize * self.count


def read_pcd(path: Path, _: object) -> Content:
    """Read the points with all fields of one value; ``rgb`` is unpacked."""
    header, start = _header(path)
    fields, points = _fields(header), _points(header)
    limits.check_points(points, path)
    values = _BODIES[header["data"][0].lower()](path, start, fields, points)
    missing = [axis for axis in XYZ if axis not in values]
    if missing:
        raise PccloraError(
            f"{path}: no field {missing[0]}, found {', '.join(field.name for field in fields)}; {REMEDY}"
        )
    packed = next((values[name] for name in _PACKED if name in values and values[name].itemsize == 4), None)
    if packed is not None:
        bits = np.ascontiguousarray(packed).view(np.uint32)
        values |= {name: (bits >> shift & 255).astype(np.uint8) for name, shift in zip(RGB, (16, 8, 0), strict=True)}
    xyz = np.stack([values[axis] for axis in XYZ], axis=1)
    return Content(xyz, {name: value for name, value in values.items() if name not in XYZ})


def _header(path: Path) -> tuple[dict[str, list[str]], int]:
    """Return keyword -> words, and where the points begin; comments may be in any encoding."""
    header: dict[str, list[str]] = {}
    with path.open("rb") as file:
        for line in islice(iter(lambda: file.readline(2**16), b""), _MOST_HEADER_LINES):
            key, *words = line.removeprefix(codecs.BOM_UTF8).decode("latin-1").split("#", maxsplit=1)[0].split() or [""]
            if key and key.lower() not in _KEYS:
                raise ValueError(f"'{key[:20]}' is no keyword of a pcd header")
            if key and words:
                header[key.lower()] = words
            if key.lower() == "data":
                return header, file.tell()
    raise ValueError("no header of a pcd")


def _fields(header: Mapping[str, list[str]]) -> list[_Field]:
    names = header.get("fields") or header["columns"]
    counts = header.get("count", ["1"] * len(names))
    kinds = header.get("type", ["F"] * len(names))
    rows = zip(names, kinds, header.get("size", ["4"] * len(names)), counts, strict=True)
    fields = [
        _Field(name.lower(), np.dtype(f"<{_KINDS[kind.upper()]}{int(size)}"), int(n)) for name, kind, size, n in rows
    ]
    if any(field.count < 0 for field in fields):
        raise ValueError("a COUNT below 0")
    return fields


def _points(header: Mapping[str, list[str]]) -> int:
    if "points" in header:
        return int(header["points"][0])
    return int(header["width"][0]) * int(header.get("height", ["1"])[0])


def _text(path: Path, start: int, fields: list[_Field], points: int) -> dict[str, NDArray[Any]]:
    count_lines(path)
    with path.open("rb") as file:
        file.seek(start)
        table = numbers(islice(filled(TextIOWrapper(file, encoding="latin-1")), points))
    if len(table) < points:
        raise cut(len(table), points, "points", path)
    columns = sum(field.count for field in fields)
    if table.shape[1] != columns:
        raise PccloraError(f"{path}: {table.shape[1]} numbers in a row, the header declares {columns:,}; {REMEDY}")
    values, at = {}, 0
    for field in fields:
        if field.count == 1:
            packed = field.name in _PACKED
            values[field.name] = table[:, at].astype(field.type) if packed else as_declared(table[:, at], field.type)
        at += field.count
    return values


def _binary(path: Path, start: int, fields: list[_Field], points: int) -> dict[str, NDArray[Any]]:
    data, row = mapped(path), sum(field.bytes for field in fields)
    if start + points * row > len(data):
        raise cut((len(data) - start) // row, points, "points", path)
    table = np.frombuffer(data, np.uint8, points * row, start).reshape(points, row)
    values, at = {}, 0
    for field in fields:
        if field.count == 1:
            values[field.name] = np.ascontiguousarray(table[:, at : at + field.bytes]).view(field.type)[:, 0]
        at += field.bytes
    return values


def _compressed(path: Path, start: int, fields: list[_Field], points: int) -> dict[str, NDArray[Any]]:
    import lzf

    data: mmap = mapped(path)
    stored, size = struct.unpack_from("<II", data, start)
    row = sum(field.bytes for field in fields)
    if start + 8 + stored > len(data) or size < points * row:
        raise cut(min(len(data) - start - 8, size), max(stored, points * row), "bytes", path)
    limits.check_unfolding(size, stored, path)
    unfolded = lzf.decompress(data[start + 8 : start + 8 + stored], size)
    if unfolded is None or len(unfolded) != size:
        raise ValueError("its compressed points do not unfold")
    values, at = {}, 0
    for field in fields:  # one field after the other
        if field.count == 1:
            values[field.name] = np.frombuffer(unfolded, field.type, points, at)
        at += points * field.bytes
    return values


_BODIES = {"ascii": _text, "binary": _binary, **dict.fromkeys(("binary_compressed", "binaryscompressed"), _compressed)}
