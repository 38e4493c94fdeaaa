"""``folder``: the user's own files, one folder a class, in any layout of :mod:`pcclora.data.sets.layouts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import (
    Axis,
    DataConfig,
    FloatArray,
    IntArray,
    PointCloudDataset,
    Sample,
    check_test_fraction,
    normalize_unit_sphere,
)
from pcclora.data.features import check_features
from pcclora.data.readers import read_scan
from pcclora.data.readers.columns import named_by_user
from pcclora.data.readers.files import require_folder
from pcclora.data.readers.up_axis import check_axis, turn_upright
from pcclora.data.sets.layouts import find_files
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS


@dataclass
class FolderConfig(DataConfig):
    """Where the files lie, and how they are read.

    Attributes:
        root: The folder of the classes, or of ``train`` and ``test``.
        test_fraction: Share of each class that is tested on, where the folders do not say it.
        split_seed: Another seed, another split.
        points: Points kept of each object, always the same: sampled on a mesh, drawn from a larger cloud.
        normalize: Centre each cloud and scale it into the unit sphere.
        cache: Keep clouds in memory after the first reading.
        up: The axis of the files that is vertical: they are turned to y up as they are read.
        columns: What the columns of tables are, as ``[x, y, z, intensity]``; empty asks their header, or guesses.
        features: What the model is given of each point beside its place, as ``[rgb, normal]`` or ``[intensity]``.
    """

    root: str = ""
    test_fraction: float = 0.2
    split_seed: int = 0
    points: int = 8192
    normalize: bool = True
    cache: bool = True
    up: Axis = "y"
    columns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    how_read: ClassVar[frozenset[str]] = frozenset({"points", "normalize", "cache", "up", "columns", "features"})
    """The fields that change how an object is read, and not which objects there are."""

    def __post_init__(self) -> None:
        check_axis(self.up)
        check_features(self.features, "data.features")
        if self.columns:
            named_by_user(self.columns)
        check_test_fraction(self.test_fraction)
        if self.points < 1:
            raise PccloraError(f"points is {self.points}; at least 1 is needed")


@DATASETS.register("folder", config=FolderConfig)
class FolderDataset(PointCloudDataset):
    """Files of any format that :func:`pcclora.data.read_scan` reads, in sorted order.

    Args:
        config: Where.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If there is no root, no class, or a class without a file that can be read.
    """

    name = "folder"
    files: Sequence[Path]

    def __init__(self, config: FolderConfig, *, split: str) -> None:
        root = require_folder(config.root, "folder", "one folder a class is expected in it")
        self.config, self.split, self.features = config, split, config.features
        found = find_files(root, split, what="folder", test_fraction=config.test_fraction, split_seed=config.split_seed)
        self.root, self.class_names, self.files, self.labels = str(root), found.class_names, found.files, found.labels
        self._read: dict[int, FloatArray] = {}

    def __getitem__(self, index: int) -> Sample:
        points = self._read.get(index)
        if points is None:
            points = read_cloud(self.files[index], self.config)
            if self.config.cache:
                self._read[index] = points
        return Sample(points, int(self.labels[index]), None, str(self.files[index]))


def read_cloud(path: Path, config: FolderConfig) -> FloatArray:
    """Read a file as this data set does: at most ``config.points`` of its points, always the same ones.

    Args:
        path: A file of any format that :func:`pcclora.data.read_scan` reads.
        config: How.

    Returns:
        Points (N, 3 + C) float32, y up, with the features that ``config`` names.

    Raises:
        PccloraError: If the file cannot be used.
    """
    columns, features = config.columns or None, config.features
    scan = read_scan(path, mesh_points=config.points, columns=columns, features=features)
    return as_cloud(scan.rows, config)


def as_cloud(points: NDArray[np.floating], config: FolderConfig) -> FloatArray:
    """Make of points (N, 3 + C) what :func:`read_cloud` makes of those of a file."""
    cloud = turn_upright(points[thin(len(points), config.points)], config.up, config.features)
    return normalize_unit_sphere(cloud) if config.normalize else cloud.astype(np.float32)


def thin(count: int, points: int) -> IntArray:
    """Return which of ``count`` points a data set keeps: all, or ``points`` of them, always the same ones, in order."""
    if count <= points:
        return np.arange(count)
    keys = np.random.Generator(np.random.Philox(0)).random(count)
    return np.sort(np.argsort(keys, kind="stable")[:points])
