"""A data set over clouds that something else has read, or reads one by one: the body of the benchmark loaders."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import IntArray, Parts, PointCloudDataset, Sample, normalize_unit_sphere
from pcclora.data.files import check_points
from pcclora.errors import PccloraError


class CloudRows(Protocol):
    """Clouds by number: an array (M, N, 3), a list of arrays, or something that reads a file for each."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.generic]: ...


class ArrayDataset(PointCloudDataset):
    """Clouds with labels.

    Args:
        name: Registered name of the data set.
        split: Which split.
        class_names: One name a class.
        clouds: Each (N, 3 or more); the first three columns are used.
        labels: (M,) class of each cloud.
        places: Where each came from, for messages.
        normalize: Centre each cloud and scale it into the unit sphere.
        part_labels: For each cloud, the part (N,) of each point, if known.
        parts: What each class is made of, if known; a part label that is not of the sample's class is refused.
        fps_ordered: The clouds are stored in farthest-point order.
        form: Which form of the files was read, e.g. ``"h5"``.

    Raises:
        PccloraError: If a label has no class name.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        class_names: Sequence[str],
        clouds: CloudRows,
        labels: IntArray,
        places: Sequence[str],
        normalize: bool,
        part_labels: Sequence[IntArray] | IntArray | None = None,
        parts: Parts | None = None,
        fps_ordered: bool = False,
        form: str = "",
    ) -> None:
        self.name, self.split, self.class_names, self.form = name, split, tuple(class_names), form
        self.labels, self.fps_ordered, self.parts = labels, fps_ordered, parts
        self._clouds, self._places, self._part_labels, self._normalize = clouds, places, part_labels, normalize
        bad = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
        if bad.size:
            raise PccloraError(
                f"{places[bad[0]]}: label {labels[bad[0]]} is not in 0..{len(self.class_names) - 1} ({bad.size} such "
                f"samples); {name} has {len(self.class_names)} class names, do they belong to these files?"
            )

    def __getitem__(self, index: int) -> Sample:
        place = self._places[index]
        points = check_points(np.asarray(self._clouds[index]), place)[:, :3]
        cloud = normalize_unit_sphere(points) if self._normalize else points.astype(np.float32)
        label, part_labels = int(self.labels[index]), None if self._part_labels is None else self._part_labels[index]
        if part_labels is not None and self.parts is not None:
            self.parts.check(part_labels, label, place)
        return Sample(cloud, label, part_labels, place)
