"""``read_points``: the points of one file of the user's own, whatever its format; a mesh is sampled on its surface."""

import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.files import check_points, unreadable
from pcclora.data.text_meshes import refuse_truncated
from pcclora.errors import PccloraError, did_you_mean

FloatPoints = NDArray[np.float64]
_ARRAY_NAMES = ("points", "data", "xyz", "pos", "arr_0")
_CHECK = "check it in the program that wrote it"


def read_points(path: str | Path, *, mesh_points: int = 8192) -> FloatPoints:
    """Read the coordinates of a point cloud or a mesh.

    Args:
        path: A file of a format in :data:`READERS`. Columns or fields after x, y, z are left out.
        mesh_points: Points to sample on a mesh's surface, uniformly by area, always the same ones.

    Returns:
        (N, 3) float64: scans in map coordinates do not fit into float32 before they are centred.

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
            points = reader(file, mesh_points)
    except PccloraError:
        raise
    except Exception as error:  # what a library makes of a damaged file is its own choice
        raise unreadable(file, error, _CHECK) from error
    return np.asarray(check_points(points, str(file))[:, :3], dtype=np.float64)


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


def _text(path: Path, _: int) -> FloatPoints:
    return read_text(path)


def _npy(path: Path, _: int) -> NDArray[np.generic]:
    return np.asarray(np.load(path, allow_pickle=False))


def _npz(path: Path, _: int) -> NDArray[np.generic]:
    with np.load(path, allow_pickle=False) as archive:
        names = [name for name in _ARRAY_NAMES if name in archive] or archive.files[:1]
        if len(archive.files) > 1 and names[0] not in _ARRAY_NAMES:
            raise PccloraError(f"{path}: which of {archive.files} are the points? call that array 'points'")
        return np.asarray(archive[names[0]])


def _mesh(path: Path, count: int) -> NDArray[np.generic]:
    import trimesh

    if path.suffix.lower() in (".ply", ".off"):
        refuse_truncated(path)
    with path.open("rb") as file:  # from an open file trimesh follows no reference to materials or textures
        shape: Any = trimesh.load(file, file_type=path.suffix[1:].lower(), process=False)
    if isinstance(shape, trimesh.Scene):
        shape = shape.to_mesh()
    faces = getattr(shape, "faces", ())
    if not len(faces):
        return np.asarray(shape.vertices)
    if not np.isfinite(check_points(shape.vertices, str(path))).all() or not shape.area > 0:
        raise PccloraError(f"{path}: the mesh has {len(faces)} faces and no area; {_CHECK}")
    return np.asarray(trimesh.sample.sample_surface(shape, count, seed=0)[0])


def _las(path: Path, _: int) -> NDArray[np.generic]:
    import laspy

    cloud = laspy.read(path)
    return _whole(np.asarray(cloud.xyz), cloud.header.point_count, path)


def _pcd(path: Path, _: int) -> NDArray[np.generic]:
    from pypcd4.pypcd4 import PointCloud

    cloud = PointCloud.from_path(path)
    return _whole(np.asarray(cloud.numpy(("x", "y", "z"))), cloud.points, path)


def _whole(points: NDArray[np.generic], promised: int, path: Path) -> NDArray[np.generic]:
    if len(points) != promised:  # the libraries return what there is
        raise PccloraError(f"{path}: truncated, {len(points)} of {promised} points; {_CHECK}")
    return points


READERS: dict[str, Callable[[Path, int], NDArray[np.generic]]] = {
    **dict.fromkeys((".ply", ".off", ".obj", ".stl"), _mesh),
    **dict.fromkeys((".txt", ".xyz"), _text),
    ".npy": _npy,
    ".npz": _npz,
    ".las": _las,
    ".pcd": _pcd,
}
"""Suffix -> reader of (path, points to sample on a mesh)."""
