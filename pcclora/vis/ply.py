"""A segmented object as a PLY file for MeshLab, CloudCompare and everything else that reads the format.

Binary, little-endian, a vertex a point, in the cloud's own order and coordinates. The names are those that the programs
look for: CloudCompare makes a scalar field of each property that begins with ``scalar_`` (its PlyFilter.cpp), MeshLab
reads ``quality`` as a vertex's quality (vcglib's import_ply.h); both read ``red``, ``green`` and ``blue``. Opened in
CloudCompare 2.11 and MeshLab 2025.07: every coordinate, colour, label and probability arrives.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora.atomic import replacing
from pcclora.errors import PccloraError
from pcclora.runs.segmented import SegmentedCloud
from pcclora.text import visible
from pcclora.vis.views import PREDICTION, TRUTH, part_legend, views_of

TYPES = {"f4": "float", "f8": "double", "u1": "uchar", "i4": "int"}
ROUNDING = 1e-6
"""Share of the cloud's extent that coordinates may be off before they are written as doubles."""


def write_ply(cloud: SegmentedCloud, target: Path) -> None:
    """Write an object with the colour, the label and the probability of each point's part.

    Properties, as far as they are known: ``x y z`` (double where float would move a point, as in map coordinates);
    ``red green blue``, the part's colour; ``scalar_label``, the predicted part, or the true one where nothing is
    predicted, counted from 0 within the category as in a ``part_folder``; ``scalar_true_label`` beside a prediction;
    ``scalar_probability`` and, for MeshLab, the same as ``quality``; ``scan_red scan_green scan_blue``, the scan's own
    colour. Comments in the header name the parts.

    Args:
        cloud: The object.
        target: The file to write or replace.

    Raises:
        PccloraError: If it has neither predicted nor true parts.
    """
    views = views_of(cloud)
    shown = views.get(PREDICTION) or views.get(TRUTH)
    if shown is None:
        raise PccloraError(f"{target}: {cloud.title or cloud.category} has no part labels to write")
    columns = dict(zip("xyz", cloud.points.astype(_precision(cloud.points)).T, strict=True))
    columns |= _colour("", shown.colours)
    for name, labels in zip(("scalar_label", "scalar_true_label"), _known(cloud), strict=False):
        columns[name] = np.searchsorted(cloud.parts, labels).astype("<i4")
    if cloud.confidence is not None:
        columns["scalar_probability"] = columns["quality"] = cloud.confidence.astype("<f4")
    if cloud.colors is not None:
        columns |= _colour("scan_", cloud.colors)
    table = np.empty(len(cloud.points), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    with replacing(target) as temporary:
        temporary.write_bytes(_header(cloud, table.dtype, len(table)) + table.tobytes())


def _precision(points: NDArray[np.floating]) -> str:
    moved = np.abs(points - points.astype(np.float32)).max()
    return "<f8" if moved > ROUNDING * np.ptp(points, axis=0).max() else "<f4"


def _colour(prefix: str, colours: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    return {f"{prefix}{name}": colours[:, channel] for channel, name in enumerate(("red", "green", "blue"))}


def _known(cloud: SegmentedCloud) -> list[NDArray[np.int64]]:
    return [labels for labels in (cloud.prediction, cloud.truth) if labels is not None]


def _header(cloud: SegmentedCloud, dtype: np.dtype[np.void], count: int) -> bytes:
    names = [("#{:02x}{:02x}{:02x}".format(*colour), name) for name, colour in part_legend(cloud)]
    comments = [f"category {visible(cloud.category)}"]
    comments += [f"label {label} {colour} {name}" for label, (colour, name) in enumerate(names)]
    # some readers take the word wherever it stands
    lines = [f"comment {comment.replace('end_header', 'end header')}" for comment in comments]
    lines = ["ply", "format binary_little_endian 1.0", *lines, f"element vertex {count}"]
    lines += [f"property {TYPES[dtype[name].str[1:]]} {name}" for name in dtype.names or ()]
    return "\n".join([*lines, "end_header", ""]).encode()
