"""``folder``: the user's own files, one folder a class.

Three layouts, found by looking: ``train/<class>/*`` and ``test/<class>/*``; ``<class>/train/*`` and ``<class>/test/*``
(ModelNet as its authors give it); ``<class>/*``, which is split here, by class and by seed.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcclora.data.base import FloatArray, IntArray, PointCloudDataset, Sample, normalize_unit_sphere, stratified_split
from pcclora.data.files import require_folder
from pcclora.data.readers import READERS, read_points
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

SPLITS = ("train", "test")


@dataclass
class FolderConfig:
    """Where the files lie, and how they are read.

    Attributes:
        root: The folder of the classes, or of ``train`` and ``test``.
        test_fraction: Share of each class that is tested on, where the folders do not say it.
        split_seed: Another seed, another split.
        points: Points kept of each object, always the same: sampled on a mesh, drawn from a larger cloud.
        normalize: Centre each cloud and scale it into the unit sphere.
        cache: Keep clouds in memory after the first reading.
    """

    root: str = ""
    test_fraction: float = 0.2
    split_seed: int = 0
    points: int = 8192
    normalize: bool = True
    cache: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.test_fraction < 1:
            raise PccloraError(f"test_fraction is {self.test_fraction}; a share between 0 and 1 is needed")
        if self.points < 1:
            raise PccloraError(f"points is {self.points}; at least 1 is needed")


@DATASETS.register("folder", config=FolderConfig)
class FolderDataset(PointCloudDataset):
    """Files of any format that :func:`pcclora.data.read_points` reads, in sorted order.

    Args:
        config: Where.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If there is no root, no class, or a class without a file that can be read.
    """

    name = "folder"

    def __init__(self, config: FolderConfig, *, split: str) -> None:
        if split not in SPLITS:
            raise PccloraError(f"folder: no split '{split}'; there are {', '.join(SPLITS)}")
        root = require_folder(config.root, "folder", "one folder a class is expected in it")
        self.config, self.split = config, split
        self.class_names, self.files, self.labels = _find(root, config, split)
        self._read: dict[int, FloatArray] = {}

    def __getitem__(self, index: int) -> Sample:
        points = self._read.get(index)
        if points is None:
            points = read_cloud(self.files[index], points=self.config.points, normalize=self.config.normalize)
            if self.config.cache:
                self._read[index] = points
        return Sample(points, int(self.labels[index]), None, str(self.files[index]))


def read_cloud(path: Path, *, points: int, normalize: bool) -> FloatArray:
    """Read a file as this data set does: at most ``points`` of its points, always the same ones.

    Args:
        path: A file of any format that :func:`pcclora.data.read_points` reads.
        points: Points kept: sampled on a mesh, drawn from a larger cloud.
        normalize: Centre the cloud and scale it into the unit sphere.

    Returns:
        Points (N, 3) float32.

    Raises:
        PccloraError: If the file cannot be used.
    """
    cloud = read_points(path, mesh_points=points)
    if len(cloud) > points:
        keys = np.random.Generator(np.random.Philox(0)).random(len(cloud))
        cloud = cloud[np.sort(np.argsort(keys, kind="stable")[:points])]
    return normalize_unit_sphere(cloud) if normalize else cloud.astype(np.float32)


def _find(root: Path, config: FolderConfig, split: str) -> tuple[tuple[str, ...], list[Path], IntArray]:
    """Return class names, files and labels of one split."""
    if all((root / part).is_dir() for part in SPLITS):
        names = sorted({name for part in SPLITS for name in _folders(root / part)})
        found = [_files(root / split / name) for name in names]
    else:
        names = _folders(root)
        nested = bool(names) and all((root / name / part).is_dir() for name in names for part in SPLITS)
        found = [_files(root / name / split if nested else root / name) for name in names]
        if not nested:
            found = _split(found, config, split)
    if not names:
        raise PccloraError(
            f"folder: {root} has no class folders; put the files of each class into a folder of its name"
        )
    labels = np.repeat(np.arange(len(names)), [len(files) for files in found])
    return tuple(names), [file for files in found for file in files], labels


def _split(found: Sequence[list[Path]], config: FolderConfig, split: str) -> list[list[Path]]:
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found])
    sides = dict(zip(SPLITS, stratified_split(labels, config.test_fraction, config.split_seed), strict=True))
    files = [file for group in found for file in group]
    return [[files[i] for i in sides[split] if labels[i] == label] for label in range(len(found))]


def _folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    present = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    files = [path for path in present if path.suffix.lower() in READERS]
    if not files:
        state = "has none" if folder.is_dir() else "is absent"
        raise PccloraError(
            f"folder: a class needs files ({' '.join(READERS)}), {folder} {state}; add files, or remove the folder"
        )
    if len(files) < len(present):
        other = next(path for path in present if path not in files)
        warnings.warn(
            f"folder: {len(present) - len(files)} files of other formats are left out, as {other}", stacklevel=2
        )
    return files
