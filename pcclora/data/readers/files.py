"""What every reader says about a file that it cannot use: what it is, what is wrong with it, and what to do."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.commands import spelled
from pcclora.errors import PccloraError
from pcclora.limits import is_lfs_pointer, is_web_page
from pcclora.paths import check_regular, exists, is_dir, is_file, read_text
from pcclora.shipped import card

DOWNLOAD_AGAIN = "download it again"


def require_folder(path: str | Path, what: str, remedy: str) -> Path:
    """Return a folder that exists.

    Args:
        path: What the configuration says.
        what: Whose folder it is, for the message.
        remedy: What to do where it is missing.

    Raises:
        PccloraError: If there is no such folder, or no path was given.
    """
    if not str(path):
        raise PccloraError(f"{what}: no root is given; set root to its folder. {remedy}")
    folder = Path(os.path.expanduser(path))  # as Path.expanduser, which raises where there is no such user
    if not is_dir(folder):
        raise PccloraError(
            f"{what}: root {folder} {'is not a folder' if exists(folder) else 'does not exist'}; {remedy}"
        )
    return folder


def require_files(paths: Sequence[Path], what: str, remedy: str) -> None:
    """Check that files exist; all that do not are one error, with their number and the first few.

    Raises:
        PccloraError: If any is absent.
    """
    absent = [path for path in paths if not is_file(path)]
    if absent:
        few = ", ".join(str(path) for path in absent[:3])
        more = ", ..." if len(absent) > 3 else ""
        raise PccloraError(f"{what}: {len(absent)} of {len(paths)} files are absent: {few}{more}; {remedy}")


def unreadable(path: Path, problem: object, remedy: str = DOWNLOAD_AGAIN) -> PccloraError:
    """Return the error for a file that a reader could not make sense of, with the likeliest cause.

    Args:
        path: The file.
        problem: What the reader said.
        remedy: What to do.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(256)
        size = path.stat().st_size
    except PccloraError as error:
        return error
    except OSError as error:
        return PccloraError(f"{path}: cannot be opened ({error.strerror or error}); check the path and its permissions")
    if not size:
        return PccloraError(f"{path}: the file is empty; {remedy}")
    if is_web_page(head):
        return PccloraError(f"{path}: this is a web page, not data (a download that was refused); {remedy}")
    if is_lfs_pointer(head):
        return PccloraError(f"{path}: this is a git-lfs pointer, not the data; fetch it with `git lfs pull`")
    reason = " ".join(str(problem).split())[:200] or type(problem).__name__
    return PccloraError(f"{path}: damaged or of another format, {size} bytes ({reason}); {remedy}")


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a list file.

    Raises:
        PccloraError: If it is absent, empty, or no text.
    """
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    names = [line for line in lines if line]
    if not names or names[0].startswith("<"):
        raise unreadable(path, "no names in it")
    return names


def refuse_channels_first(shape: tuple[int, ...], place: object) -> None:
    """Refuse an array of points whose columns are its rows: (3, N), or (B, 3, N) for many clouds; and a picture.

    Points are (N, 3) to (N, 11), as many rows as there are points; read row by row, the other order gives three points.
    Up to ten columns, a row of coordinates could as well be a point with colour, normal and label, and is taken for it.

    Args:
        shape: Of the array; its last two axes are looked at.
        place: The file, and the array in it, for the message.

    Raises:
        PccloraError: If the last axis is greater than 10, and the one before it is 3 or 6, or is smaller and the last
            greater than 11: no table of points that anybody writes has more columns and fewer rows.
    """
    rows, columns = shape[-2:] if len(shape) >= 2 else (0, 0)
    if columns > 10 and (rows in (3, 6) or columns > max(rows, 11)):
        turned = "array.T" if len(shape) == 2 else "numpy.swapaxes(array, -1, -2)"
        raise PccloraError(
            f"{place}: shape {shape} is channels first, ({rows}, points), or no table of points; points are rows, "
            f"save {turned}"
        )


def check_table(points: NDArray[Any], place: object) -> NDArray[np.floating]:
    """Return an array that holds points in rows: (N, 3 or more), at least one, numbers; of any size, finite or not.

    Raises:
        PccloraError: If it does not.
    """
    refuse_channels_first(points.shape, place)
    if points.ndim != 2 or points.shape[1] < 3 or not len(points):
        raise PccloraError(f"{place}: points must be (N, 3 or more) with N > 0, found shape {points.shape}")
    if points.dtype.kind not in "fiu":
        raise PccloraError(f"{place}: points must be numbers, found dtype {points.dtype}")
    return points if points.dtype.kind == "f" else points.astype(np.float64)


def check_points(points: NDArray[Any], place: object) -> NDArray[np.floating]:
    """Return an array that is a cloud: as :func:`check_table`, and all coordinates are finite.

    Raises:
        PccloraError: If it is not; the message names ``place`` and the first bad row.
    """
    points = check_table(points, place)
    bad = ~np.isfinite(points[:, :3]).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        found = points[row, :3].tolist()
        raise PccloraError(
            f"{place}: {int(bad.sum())} points are NaN or infinite, the first is point {row} {found}; remove them"
        )
    return points


def where_to_get_it(dataset: str) -> str:
    """Return what the card of a data set says on where it can be had.

    Args:
        dataset: Its name, as ``modelnet40``.
    """
    text = card(dataset).read_text(encoding="utf-8")
    return "## Where to get it" + spelled(text).split("## Where to get it")[1].split("\n## ")[0].rstrip()
