"""``read_scan``: the points of one file of the user's own, whatever its format, with what it says of each.

A mesh is sampled on its surface, unless its vertices have labels.
"""

import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.files import unreadable
from pcclora.data.scan import Scan, scan_of_fields, scan_of_table
from pcclora.data.text_meshes import refuse_truncated
from pcclora.errors import PccloraError, did_you_mean

FloatPoints = NDArray[np.float64]
_ARRAY_NAMES = ("points", "data", "xyz", "pos", "arr_0")
_COLOR_NAMES = ("colors", "color", "rgb")
_RGB = ("red", "green", "blue")
_CHECK = "check it in the program that wrote it"


def read_scan(path: str | Path, *, mesh_points: int = 8192) -> Scan:
    """Read a point cloud or a mesh: coordinates, colours and labels, in the order of the file.

    Colours and labels are kept where the format has a place for them: properties of ply, fields of pcd, dimensions of
    las, arrays of npz, columns of text and npy (see :mod:`pcclora.data.scan`). The points of a mesh without labels are
    sampled on its surface and have neither.

    Args:
        path: A file of a format in :data:`READERS`.
        mesh_points: Points to sample on a mesh's surface, uniformly by area, always the same ones.

    Raises:
        PccloraError: If the file is absent, damaged, of an unknown format, or has no finite points.
    """
    file = Path(path).expanduser()
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise PccloraError(f"{file}: unknown format '{file.suffix}'{did_you_mean(file.suffix.lower(), READERS)}")
    if not file.is_file():
        raise PccloraError(f"{file}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of an empty text before we refuse it
            return reader(file, mesh_points)
    except PccloraError:
        raise
    except Exception as error:  # what a library makes of a damaged file is its own choice
        raise unreadable(file, error, _CHECK) from error


def read_points(path: str | Path, *, mesh_points: int = 8192) -> FloatPoints:
    """Read the coordinates alone, (N, 3) float64, as :func:`read_scan` does."""
    return read_scan(path, mesh_points=mesh_points).points


def read_text(path: Path) -> FloatPoints:
    """Read rows of numbers, separated by commas, semicolons or white space; a header of up to two lines is skipped.

    Returns:
        (N, C) float64, all columns.

    Raises:
        PccloraError: If there is no row of at least three numbers, or rows differ in length.
    """
    try:
        with path.open(encoding="utf-8") as file:
            skipped, delimiter = _text_layout(list(islice(file, 3)))
        return np.loadtxt(path, delimiter=delimiter, skiprows=skipped, ndmin=2, comments="#", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise unreadable(path, error, _CHECK) from error


def _text_layout(head: list[str]) -> tuple[int, str | None]:
    """Return how many lines come before the first row, and what separates its numbers (None: white space)."""
    for skipped, line in enumerate(head):
        delimiter = next((mark for mark in (",", ";") if mark in line), None)
        try:
            numbers = [float(cell) for cell in line.split(delimiter)]
        except ValueError:
            continue
        if len(numbers) >= 3:
            return skipped, delimiter
    raise ValueError("none of the first lines is a row of at least three numbers")


def _text(path: Path, _: int) -> Scan:
    return scan_of_table(read_text(path), str(path))


def _npy(path: Path, _: int) -> Scan:
    return scan_of_table(np.load(path, allow_pickle=False), str(path))


def _npz(path: Path, _: int) -> Scan:
    with np.load(path, allow_pickle=False) as archive:
        names = [name for name in _ARRAY_NAMES if name in archive] or archive.files[:1]
        if len(archive.files) > 1 and names[0] not in _ARRAY_NAMES:
            raise PccloraError(f"{path}: which of {archive.files} are the points? call that array 'points'")
        points = archive[names[0]]
        table = scan_of_table(points, str(path))
        fields = {name: archive[name] for name in archive.files if name != names[0] and archive[name].ndim == 1}
        colors = next((archive[name] for name in _COLOR_NAMES if name in archive), np.empty((0, 0)))
    if colors.ndim == 2 and colors.shape[1] == 3:
        fields |= dict(zip(_RGB, colors.T, strict=True))
    named = scan_of_fields(points, fields, str(path))
    return Scan(
        table.points,
        table.colors if named.colors is None else named.colors,
        table.labels if named.labels is None else named.labels,
    )


def _mesh(path: Path, count: int) -> Scan:
    import trimesh

    if path.suffix.lower() in (".ply", ".off"):
        refuse_truncated(path)
    with path.open("rb") as file:  # from an open file trimesh follows no reference to materials or textures
        shape: Any = trimesh.load(file, file_type=path.suffix[1:].lower(), process=False)
    if isinstance(shape, trimesh.Scene):
        shape = shape.to_mesh()
    faces = getattr(shape, "faces", ())
    scan = scan_of_fields(shape.vertices, _vertex_fields(shape), str(path))
    if not len(faces) or scan.labels is not None:
        return scan
    if not shape.area > 0:
        raise PccloraError(f"{path}: the mesh has {len(faces)} faces and no area; {_CHECK}")
    return Scan(np.asarray(trimesh.sample.sample_surface(shape, count, seed=0)[0], dtype=np.float64))


def _vertex_fields(shape: Any) -> dict[str, NDArray[Any]]:
    """Return what a ply says of its vertices; of another format, the colours of a cloud without faces."""
    vertex = shape.metadata.get("_ply_raw", {}).get("vertex")
    if vertex is not None:
        return {name: vertex["data"][name] for name in vertex["properties"]}
    colors = np.asarray(getattr(shape, "colors", ()))
    return dict(zip(_RGB, colors.T, strict=False)) if colors.ndim == 2 else {}


def _las(path: Path, _: int) -> Scan:
    import laspy

    cloud = laspy.read(path)
    _refuse_cut(cloud.points, cloud.header.point_count, path)
    own = cloud.point_format
    # `classification` is no part label: every LAS file has it, 0 where nobody has classified.
    names = [*(name for name in _RGB if name in own.dimension_names), *own.extra_dimension_names]
    return scan_of_fields(np.asarray(cloud.xyz), {name: np.asarray(cloud[name]) for name in names}, str(path))


def _pcd(path: Path, _: int) -> Scan:
    from pypcd4.pypcd4 import PointCloud

    cloud = PointCloud.from_path(path)
    rows = np.atleast_1d(cloud.pc_data)  # a text of one row has no axis
    _refuse_cut(rows, cloud.points, path)
    fields = {name: rows[name] for name in rows.dtype.names or ()}
    packed = next((fields[name] for name in ("rgb", "rgba") if name in fields), None)
    if packed is not None:
        fields |= dict(zip(_RGB, PointCloud.decode_rgb(np.ascontiguousarray(packed)).T, strict=True))
    return scan_of_fields(np.asarray(cloud.numpy(("x", "y", "z"))), fields, str(path))


def _refuse_cut(points: Any, promised: int, path: Path) -> None:
    if len(points) != promised:  # the libraries return what there is
        raise PccloraError(f"{path}: truncated, {len(points)} of {promised} points; {_CHECK}")


READERS: dict[str, Callable[[Path, int], Scan]] = {
    **dict.fromkeys((".ply", ".off", ".obj", ".stl"), _mesh),
    **dict.fromkeys((".txt", ".xyz"), _text),
    ".npy": _npy,
    ".npz": _npz,
    ".las": _las,
    ".pcd": _pcd,
}
"""Suffix -> reader of (path, points to sample on a mesh)."""
