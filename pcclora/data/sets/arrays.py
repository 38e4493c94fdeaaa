"""A data set over clouds that something else has read, or reads one by one: the body of the benchmark loaders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import IntArray, PointCloudDataset, Sample, check_labels, normalize_unit_sphere
from pcclora.data.digests import digest_of_arrays
from pcclora.data.readers.files import check_points


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
        fps_ordered: The clouds are stored in farthest-point order.
        form: Which form of the files was read, e.g. ``"h5"``.
        root: The folder that they lie in.
        files: (M) where each cloud is a file of its own.

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
        fps_ordered: bool = False,
        form: str = "",
        root: Path | str = "",
        files: Sequence[Path] | None = None,
    ) -> None:
        check_labels(labels, class_names, places, name)
        self.name, self.split, self.class_names, self.form = name, split, tuple(class_names), form
        self.labels, self.fps_ordered, self.root, self.files = labels, fps_ordered, str(root), files
        self._clouds, self._places, self._normalize = clouds, places, normalize

    def path_of(self, index: int) -> str:
        """Return where a cloud comes from."""
        return self._places[index]

    def digest_of(self, index: int) -> str:
        """Return what tells a cloud from another: as it is stored."""
        return digest_of_arrays(np.asarray(self._clouds[index])) if self.files is None else super().digest_of(index)

    def __getitem__(self, index: int) -> Sample:
        place = self._places[index]
        points = check_points(np.asarray(self._clouds[index]), place)[:, :3]
        cloud = normalize_unit_sphere(points) if self._normalize else points.astype(np.float32)
        return Sample(cloud, int(self.labels[index]), None, place)
