"""Clouds with the part of each point, read one by one: the body of the part-segmentation data sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import IntArray, Parts, PointCloudDataset, Sample, check_labels, normalize_unit_sphere
from pcclora.data.digests import digest_of_arrays
from pcclora.data.readers.files import check_points


class PartRows(Protocol):
    """Clouds by number: points (N, 3 + C) and the part label (N,) of each."""

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.floating], IntArray]: ...


class PartDataset(PointCloudDataset):
    """Clouds whose points have labels.

    Args:
        name: Registered name of the data set.
        split: Which split.
        class_names: One name a class.
        rows: The clouds.
        labels: (M,) class of each cloud.
        places: Where each came from, for messages.
        normalize: Centre each cloud and scale it into the unit sphere.
        parts: What each class is made of; None where no file says it, then no part label is checked.
        form: Which form of the files was read, e.g. ``"text"``.
        cache: Keep clouds in memory after the first reading.
        root: The folder that they lie in.
        files: (M) where each cloud is a file of its own.
        features: What the columns of the rows behind x, y and z are.

    Raises:
        PccloraError: If a label has no class name.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        class_names: Sequence[str],
        rows: PartRows,
        labels: IntArray,
        places: Sequence[str],
        normalize: bool,
        parts: Parts | None,
        form: str,
        cache: bool = False,
        root: Path | str = "",
        files: Sequence[Path] | None = None,
        features: tuple[str, ...] = (),
    ) -> None:
        check_labels(labels, class_names, places, name)
        self.name, self.split, self.class_names, self.form = name, split, tuple(class_names), form
        self.labels, self.parts, self.root, self.files, self.features = labels, parts, str(root), files, features
        self._rows, self._places, self._normalize, self._cache = rows, places, normalize, cache
        self._read: dict[int, Sample] = {}

    def path_of(self, index: int) -> str:
        """Return where a cloud comes from."""
        return self._places[index]

    def digest_of(self, index: int) -> str:
        """Return what tells a cloud and its labels from another: as they are stored."""
        return digest_of_arrays(*self._rows[index]) if self.files is None else super().digest_of(index)

    def __getitem__(self, index: int) -> Sample:
        sample = self._read.get(index) or self._open(index)
        if self._cache:
            self._read[index] = sample
        return sample

    def _open(self, index: int) -> Sample:
        place, label = self._places[index], int(self.labels[index])
        points, part_labels = self._rows[index]
        checked = check_points(points, place)
        if self.parts is not None:
            self.parts.check(part_labels, label, place)
        cloud = normalize_unit_sphere(checked) if self._normalize else checked.astype(np.float32)
        return Sample(cloud, label, part_labels, place)
