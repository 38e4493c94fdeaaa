"""Arrays of numpy (npy, npz), and rows of bare float32 (bin)."""

import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pcclora import limits
from pcclora.data.readers.columns import guessed
from pcclora.data.readers.content import NORMAL, RGB, Content, content_of_columns
from pcclora.data.readers.files import check_table, refuse_channels_first
from pcclora.data.readers.scan import LABEL_NAMES
from pcclora.data.readers.text import checked
from pcclora.errors import PccloraError

_POINTS = ("points", "data", "xyz", "pos", "coord", "coords", "pc", "pointcloud", "point_cloud", "arr_0")
_COLORS = ("colors", "color", "rgb")
_NORMALS = ("normals", "normal")
_BESIDE = (*RGB, *NORMAL, "intensity", *LABEL_NAMES)


def read_npy(path: Path, columns: tuple[str, ...] | None) -> Content:
    """Read an array (N, 3 or more), or one with fields x, y and z."""
    with path.open("rb") as file:
        return _content(_array(file, path.stat().st_size, path), columns, path)


def read_npz(path: Path, columns: tuple[str, ...] | None) -> Content:
    """Read the points of an archive, and what else is known of them beside them; no other array is opened."""
    limits.check_archive(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

        def load(name: str) -> NDArray[Any]:
            with archive.open(members[name]) as file:
                return _array(file, members[name].file_size, f"{path} [{name}]")

        points = next(_called(_POINTS, members), None)
        if points is None:
            if len(members) != 1:
                raise PccloraError(f"{path}: which of {list(members)} are the points? call that array 'points'")
            (points,) = members
        content = _content(load(points), columns, path)
        fields = {name: load(name) for name in members if name.lower().removeprefix("scalar_") in _BESIDE}
        fields = {name: values for name, values in fields.items() if _one_a_point(values, len(content.points))}
        colors, normals = (next(map(load, _called(names, members)), np.empty((0, 0))) for names in (_COLORS, _NORMALS))
    if colors.ndim == 2 and colors.shape[1] in (3, 4):  # the fourth is opacity
        fields |= dict(zip(RGB, colors.T, strict=False))
    if normals.ndim == 2 and normals.shape[1] == 3:
        fields |= dict(zip(NORMAL, normals.T, strict=True))
    return replace(content, fields={**content.fields, **fields})


def _called(names: Iterable[str], members: Collection[str]) -> Iterator[str]:
    """Pass on the members that are called one of these names, in any case."""
    return (member for name in names for member in members if member.lower() == name)


def _one_a_point(values: NDArray[Any], points: int) -> bool:
    """Return whether an array is a list, and not a single value for the whole object, as its class is."""
    return values.size == max(values.shape, default=0) and (values.size > 1 or points == 1)


def read_bin(path: Path, columns: tuple[str, ...] | None) -> Content:
    """Read rows of float32, as KITTI writes them: how many columns they have, only the user can say."""
    if columns is None:
        raise PccloraError(
            f"{path}: bare numbers do not say how many columns they have; name them: columns=['x', 'y', 'z', 'i'] for "
            "KITTI"
        )
    size, row = path.stat().st_size, 4 * len(columns)
    if size % row or not size:
        raise PccloraError(f"{path}: {size} bytes are no rows of {len(columns)} float32 ({' '.join(columns)})")
    limits.check_points(size // row, path)
    return content_of_columns(np.fromfile(path, dtype="<f4").reshape(-1, len(columns)), columns, named=True)


def _content(table: NDArray[Any], columns: tuple[str, ...] | None, path: Path) -> Content:
    if table.dtype.names:
        fields = {name: table[name].reshape(-1) for name in table.dtype.names if table[name].size == table.size}
        known = {name.lower(): name for name in fields}
        if not {"x", "y", "z"} <= known.keys():
            raise PccloraError(f"{path}: no fields x, y and z, found {', '.join(table.dtype.names)}")
        return Content(np.stack([fields[known[axis]] for axis in "xyz"], axis=1), fields)
    if table.ndim == 3 and len(table) == 1:  # a batch of one
        table = table[0]
    table = check_table(table, path)
    if columns is not None:
        return content_of_columns(table, checked(columns, table.shape[1], path), named=True)
    return content_of_columns(table, guessed(table, "array"), guessed=table.shape[1] > 3)


def _array(file: IO[bytes], size: int, place: object) -> NDArray[Any]:
    """Read an array after its header has been compared with what there is.

    Args:
        file: The start of an npy.
        size: Its bytes.
        place: The file, for messages.

    Raises:
        PccloraError: If it declares more than it holds, or more than a cloud has.
        ValueError: If it is no npy, or would have to run code.
    """
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    if shape[:1] != (1,):  # a list of labels may lie flat; one cloud is looked at when it is unpacked
        refuse_channels_first(shape, place)
    count = int(np.prod([int(n) for n in shape], dtype=object)) if shape else 1
    limits.check_points(max(count // 10, shape[0] if shape else 1), place)
    if count * dtype.itemsize > size:
        raise PccloraError(f"{place}: truncated, declares {count * dtype.itemsize:,} bytes and has {size:,}")
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
