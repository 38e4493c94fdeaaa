"""``read_scan``: the points of one file of the user's own, whatever its format, with what it says of each.

A mesh is sampled on its surface, unless its vertices have labels. ``docs/formats.md`` says what each format gives.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import FloatArray
from pcclora.data.features import check_features, unit
from pcclora.data.readers.arrays import read_bin, read_npy, read_npz
from pcclora.data.readers.beside import features_of, has_feature
from pcclora.data.readers.columns import named_by_user
from pcclora.data.readers.content import REMEDY, Content, Drawn, sample_surface
from pcclora.data.readers.files import unreadable
from pcclora.data.readers.gltf import read_gltf
from pcclora.data.readers.las import read_las
from pcclora.data.readers.meshes import read_obj, read_off, read_stl
from pcclora.data.readers.pcd import read_pcd
from pcclora.data.readers.ply import read_ply
from pcclora.data.readers.scan import Scan, has_labels, plain, scan_of_fields
from pcclora.data.readers.text import read_table, read_text
from pcclora.errors import PccloraError
from pcclora.paths import exists, is_dir, is_file

__all__ = ["READERS", "read_points", "read_scan", "read_text"]

FloatPoints = NDArray[np.float64]

READERS: dict[str, Callable[[Path, tuple[str, ...] | None], Content]] = {
    ".ply": read_ply,
    ".off": read_off,
    ".obj": read_obj,
    ".stl": read_stl,
    **dict.fromkeys((".glb", ".gltf"), read_gltf),
    ".pcd": read_pcd,
    **dict.fromkeys((".las", ".laz"), read_las),
    ".npy": read_npy,
    ".npz": read_npz,
    ".bin": read_bin,
    **dict.fromkeys((".txt", ".xyz", ".csv", ".asc", ".pts", ".xyzn", ".xyzrgb"), read_table),
}
"""Suffix -> reader of (path, names of columns where the user gives them)."""


def read_scan(
    path: str | Path, *, mesh_points: int = 8192, columns: Sequence[str] | None = None, features: Sequence[str] = ()
) -> Scan:
    """Read a point cloud or a mesh: coordinates, colours and labels, in the order of the file.

    Colours and labels are kept where the format has a place for them: properties of ply, fields of pcd, dimensions of
    las, arrays of npz, columns of text and npy. The points of a mesh without labels are sampled on its surface and have
    neither. Points that are not finite are left out, with a warning.

    Args:
        path: A file whose ending names its format: ply, pcd, las, obj, txt, npy and others.
        mesh_points: Points to sample on a mesh's surface, uniformly by area, always the same ones.
        columns: What the columns of text, npy, npz and bin are, one name each: x y z, r g b, i or intensity, nx ny nz,
            label, ``_`` for one that is left out. Formats that name their fields themselves do not ask. None: the
            header of a text, else a guess that is said once.
        features: What else is read of each point, in this order: ``rgb``, ``normal``, ``intensity``. Nothing is
            guessed here: columns must have names. On a mesh they lie between the vertices' own, and normals that these
            have not are those of the faces.

    Raises:
        PccloraError: If the file is absent, damaged, of an unknown format, or has no finite points or not the features.

    Examples:
        >>> import numpy as np
        >>> from pcclora.data import read_scan
        >>> np.savetxt("scan.txt", [[0, 0, 0, 1], [1, 2, 3, 0]], header="x y z label", comments="")
        >>> scan = read_scan("scan.txt")
        >>> scan.points.tolist(), scan.labels.tolist()
        ([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], [1, 0])
    """
    named = None if columns is None else named_by_user(columns)
    check_features(features)
    file = Path(path)
    try:
        file = file.expanduser()
        if is_dir(file):
            raise PccloraError(f"{file}: this is a folder; name the files in it")
        reader = READERS.get(file.suffix.lower())
        if reader is None:
            raise PccloraError(f"{file}: unknown format '{file.suffix}'; known: {', '.join(sorted(READERS))}")
        if not is_file(file):
            raise PccloraError(
                f"{file}: {'this is no file, but a device or a pipe' if exists(file) else 'no such file'}"
            )
        return _understood(reader(file, named), mesh_points, file, features)
    except PccloraError:
        raise
    except Exception as error:  # what a library makes of a damaged file is its own choice
        raise unreadable(file, error, REMEDY) from error


def read_points(path: str | Path, *, mesh_points: int = 8192, columns: Sequence[str] | None = None) -> FloatPoints:
    """Read the coordinates alone, (N, 3) float64, as :func:`read_scan` does.

    Examples:
        >>> import numpy as np
        >>> from pcclora.data import read_points
        >>> np.savetxt("scan.xyz", np.eye(3))
        >>> read_points("scan.xyz").tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return read_scan(path, mesh_points=mesh_points, columns=columns).points


def _understood(content: Content, mesh_points: int, file: Path, features: Sequence[str]) -> Scan:
    if features and content.guessed:
        raise PccloraError(
            f"{file}: its columns have no names, and features are not guessed; name them, as "
            f"data.columns=[x, y, z, r, g, b, nx, ny, nz]"
        )
    if content.triangles is None or not len(content.triangles):
        return scan_of_fields(content.points, content.fields, file, strict=content.named, features=features)
    if has_labels(content.fields):
        scan = scan_of_fields(content.points, content.fields, file)
        if scan.labels is not None:
            return scan_of_fields(content.points, content.fields, file, features=features) if features else scan
    drawn = sample_surface(content.points, content.triangles, mesh_points, file)
    beside = _between(content, drawn, features, file) if features else None
    return Scan(drawn.of(content.points), features=beside)


def _between(content: Content, drawn: Drawn, features: Sequence[str], file: Path) -> FloatArray:
    """Return the features (N, C) of points on a mesh."""
    fields, columns = plain(content.fields), []
    for name in features:
        if name == "normal" and not has_feature(name, fields):
            columns.append(unit(drawn.normals(content.points)))
            continue
        between = drawn.of(features_of(fields, [name], file))
        columns.append(unit(between) if name == "normal" else between)
    return np.concatenate(columns, axis=1).astype(np.float32)
