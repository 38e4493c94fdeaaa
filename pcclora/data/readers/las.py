"""Point clouds of laser scanners: las, and laz where its decompressor is installed."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from pcclora import limits
from pcclora.data.readers.content import REMEDY, RGB, Content, cut, quiet
from pcclora.errors import PccloraError
from pcclora.extras import of_extra, pip_line

_RECORD = 54
"""Bytes of the header of a variable length record; of an extended one, 60."""
_COMPRESSED = 0x80


def read_las(path: Path, _: object) -> Content:
    """Read the points with their colours, intensity and extra dimensions.

    ``classification`` is no part label: every LAS file has it, 0 where nobody has classified.
    """
    with of_extra("las", str(path)):
        import laspy  # noqa: F401 - asked for here, where the message is ours
    _check_header(path)
    with quiet():
        cloud: Any = _read(path)
    if len(cloud.points) != cloud.header.point_count:  # laspy returns what there is
        raise cut(len(cloud.points), cloud.header.point_count, "points", path)
    own = cloud.point_format
    names = [*(name for name in (*RGB, "intensity") if name in own.dimension_names), *own.extra_dimension_names]
    return Content(np.asarray(cloud.xyz), {name: np.asarray(cloud[name]) for name in names})


def _read(path: Path) -> Any:
    import laspy

    try:
        return laspy.read(path, laz_backend=laspy.LazBackend.detect_available()[-1:] or None)
    except Exception:
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the decompressor, which is no Exception
            raise
        raise ValueError(f"its compressed points do not unfold: {error}") from error


def _check_header(path: Path) -> None:
    """Compare what a header declares with the size of the file: laspy believes it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(375)
    if not header.startswith(b"LASF") or len(header) < 227:
        raise ValueError("no header of a las")
    minor = header[25]
    header_size, start, records, kind, row, points = struct.unpack_from("<HIIBHI", header, 94)
    if minor >= 4 and len(header) >= 255:
        extended_at, extended, points = struct.unpack_from("<QIQ", header, 235)
        if extended and extended_at + 60 * extended > size:
            raise cut((size - extended_at) // 60, extended, "extended records", path)
    if header_size + _RECORD * records > min(start, size):
        raise cut(max(min(start, size) - header_size, 0) // _RECORD, records, "records of its header", path)
    limits.check_points(points, path)
    if kind & _COMPRESSED:
        limits.check_unfolding(points * row, size, path)
        _require_decompressor(path)
        _check_chunks(path, start, points)
    elif start + points * row > size:
        raise cut(max(size - start, 0) // max(row, 1), points, "points", path)


def _require_decompressor(path: Path) -> None:
    import laspy

    if not laspy.LazBackend.detect_available():
        raise PccloraError(f"{path}: compressed points (laz) need a decompressor: {pip_line('las')}")


def _check_chunks(path: Path, start: int, points: int) -> None:
    """Refuse a table of more chunks than there are points: the decompressor ends the process where memory is short."""
    with path.open("rb") as file:
        file.seek(start)
        (table,) = struct.unpack("<q", file.read(8))
        if table == -1:  # written to a stream: the place stands at the end
            file.seek(-8, 2)
            (table,) = struct.unpack("<q", file.read(8))
        file.seek(table)
        _, chunks = struct.unpack("<II", file.read(8))
    if chunks > points:
        raise PccloraError(f"{path}: declares {chunks:,} chunks of {points:,} points; {REMEDY}")
