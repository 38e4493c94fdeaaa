"""A scan as the application has it: all of its points, and those few of them that a browser shows."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pcclora.app.superpoints import Superpoints, find_superpoints
from pcclora.data import Axis, normalize_unit_sphere, read_scan, turn_upright
from pcclora.data.base import FloatArray, IntArray
from pcclora.data.digests import digest_of_arrays
from pcclora.data.sets.folder import thin

MOST_SHOWN = 200_000
"""Points that are shown and labelled; the others of a larger scan get the label of the nearest of these."""


class OpenScan:
    """One file.

    Args:
        path: Of any format that :func:`pcclora.data.read_scan` reads.
        up: The axis of the file that is vertical.

    Raises:
        PccloraError: If it cannot be read.
    """

    def __init__(self, path: Path, up: Axis) -> None:
        self.path, self.up = path, up
        self.whole = read_scan(path)
        self.kept = thin(len(self.whole.points), MOST_SHOWN)

    def __len__(self) -> int:
        return len(self.kept)

    def turn(self, up: Axis) -> None:
        """Say that another axis is vertical."""
        self.up = up
        vars(self).pop("placed", None)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """(n, 3) points that are shown, in the file's own coordinates."""
        return self.whole.points[self.kept]

    def rows(self, features: Sequence[str]) -> NDArray[np.float64]:
        """Return the points that are shown with features of theirs, (n, 3 + C).

        Raises:
            PccloraError: If the file has them not.
        """
        return read_scan(self.path, features=features).rows[self.kept] if features else self.points

    @cached_property
    def placed(self) -> FloatArray:
        """(n, 3) the same, y up, in the unit sphere: where the browser has them."""
        return normalize_unit_sphere(turn_upright(self.points, self.up))

    @property
    def colors(self) -> NDArray[np.uint8] | None:
        """(n, 3) own colours of the points that are shown, or None."""
        return None if self.whole.colors is None else self.whole.colors[self.kept]

    @property
    def labels(self) -> IntArray | None:
        """(n,) labels that the file itself has of the points that are shown, or None."""
        return None if self.whole.labels is None else self.whole.labels[self.kept]

    @cached_property
    def digest(self) -> str:
        """What tells its points from another scan's."""
        return digest_of_arrays(self.whole.points)

    @cached_property
    def spacing(self) -> float:
        """Typical distance between neighbours where the browser has them."""
        some = self.placed[thin(len(self), 2000)]
        return float(np.median(cKDTree(self.placed).query(some, k=min(2, len(self)))[0].reshape(len(some), -1)[:, -1]))

    @cached_property
    def superpoints(self) -> Superpoints:
        """The tree of pieces of the points that are shown."""
        return find_superpoints(self.points)

    def of_all(self, labels: NDArray[np.integer]) -> IntArray:
        """Return the label (N,) of every point of the file, from those (n,) of the points that are shown."""
        return labels.astype(np.int64)[self._nearest] if len(self.kept) < len(self.whole.points) else labels.astype(int)

    @cached_property
    def _nearest(self) -> IntArray:
        """(N,) which of the points that are shown is nearest to each; ten million take some seconds, once."""
        return np.asarray(cKDTree(self.points).query(self.whole.points, workers=-1)[1])
