"""Reads the h5 files that PointNet's data sets come in: clouds and labels of one length, listed in a text file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data.readers.files import read_lines, refuse_channels_first, require_files, unreadable
from pcclora.errors import PccloraError
from pcclora.limits import check_unfolding
from pcclora.paths import check_regular

_KINDS = {"f": "floating-point", "iu": "whole", "fiu": "real"}


def list_files(root: Path, lists: Sequence[str], pattern: str, what: str, remedy: str) -> list[Path]:
    """Return the h5 files of a split, in order.

    Args:
        root: Where list and files lie; the folders that official lists name before each file are ignored.
        lists: Names that the list file may have.
        pattern: What the files are called, for a folder without any list.
        what: Whose files they are, for messages.
        remedy: What to do where one is absent.

    Raises:
        PccloraError: If a listed file is absent, or there is neither list nor file.
    """
    listed = next((root / name for name in lists if (root / name).is_file()), None)
    files = [root / Path(line).name for line in read_lines(listed)] if listed else sorted(root.glob(pattern))
    if not files:
        raise PccloraError(f"{what}: {root} has neither {' nor '.join(lists)} nor {pattern}; {remedy}")
    require_files(files, what, remedy)
    return files


def read_h5(path: Path, keys: Mapping[str, str], *, optional: Sequence[str] = ()) -> dict[str, NDArray[np.generic]]:
    """Read arrays of one h5 file, all of one length.

    What an array declares is checked before any of it is read, and it must lie in this file: h5 can point to any file
    of the machine, whose bytes would be taken for points.

    Args:
        path: The file.
        keys: Which arrays, and of which numpy kinds: ``{"data": "f", "label": "iu"}``.
        optional: Those of them that the file may lack.

    Raises:
        PccloraError: If the file is absent or damaged, or an array is missing, of another kind or length, larger than
            what is stored of it, or lies elsewhere.
    """
    import h5py

    try:
        check_regular(path)
        with h5py.File(path, "r") as file:
            found = sorted(file)
            for key in keys:
                if key not in found and key not in optional:
                    raise PccloraError(
                        f"{path}: no key '{key}', it has {', '.join(found) or 'none'}; is it another data set?"
                    )
            arrays = {key: _read_array(file, key, kinds, path) for key, kinds in keys.items() if key in found}
    except PccloraError:
        raise
    except Exception as error:  # h5py has no one exception for a damaged file
        raise unreadable(path, error) from error
    lengths = {key: len(array) if array.ndim else 0 for key, array in arrays.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise PccloraError(f"{path}: arrays must have one common length above 0, found {lengths}")
    return arrays


def _read_array(file: Any, key: str, kinds: str, path: Path) -> NDArray[np.generic]:
    import h5py

    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        raise PccloraError(f"{path}: '{key}' is a link to elsewhere; it must be stored in this file")
    data = file[key]
    if not isinstance(data, h5py.Dataset) or data.shape is None:
        raise PccloraError(f"{path}: '{key}' is no array")
    if data.is_virtual or data.external:
        raise PccloraError(f"{path}: '{key}' lies in other files; it must be stored in this one")
    if data.dtype.kind not in kinds:
        raise PccloraError(f"{path}: '{key}' must hold {_KINDS[kinds]} numbers, found dtype {data.dtype}")
    largest = max(math.prod(data.shape), math.prod(data.chunks or ()))  # a chunk is unpacked whole
    check_unfolding(largest * data.dtype.itemsize, data.id.get_storage_size(), f"{path}: '{key}'")
    return np.asarray(data)


def read_clouds(
    files: Sequence[Path], *, parts: bool = False
) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64] | None, list[str]]:
    """Read and join files of PointNet's layout: data (M, N, 3 or more), label (M,) or (M, 1), pid (M, N).

    Args:
        files: In order; all have the same N.
        parts: Read ``pid``, the part of each point, too.

    Returns:
        Points (M, N, 3) as stored, labels (M,), parts (M, N) or None, and where each sample came from (M).

    Raises:
        PccloraError: If a file cannot be used.
    """
    keys = {"data": "f", "label": "iu"} | ({"pid": "iu"} if parts else {})
    tables = [read_h5(path, keys) for path in files]
    for path, table in zip(files, tables, strict=True):
        shape = table["data"].shape
        if len(shape) == 3:
            refuse_channels_first(shape, f"{path}: 'data'")
        if len(shape) != 3 or shape[2] < 3 or shape[1:2] != tables[0]["data"].shape[1:2]:
            raise PccloraError(
                f"{path}: 'data' must be (samples, points, 3) with as many points in every file, found {shape}"
            )
        if table["label"].size != len(table["data"]):
            raise PccloraError(f"{path}: 'label' must have one number a sample, found shape {table['label'].shape}")
        if parts and table["pid"].shape != shape[:2]:
            raise PccloraError(f"{path}: 'pid' must be {shape[:2]}, found {table['pid'].shape}")
    points = np.concatenate([table["data"][..., :3] for table in tables])
    labels = np.concatenate([table["label"].reshape(-1) for table in tables]).astype(np.int64)
    part_labels = np.concatenate([table["pid"] for table in tables]).astype(np.int64) if parts else None
    places = [f"{path}[{row}]" for path, table in zip(files, tables, strict=True) for row in range(len(table["data"]))]
    return points, labels, part_labels, places
