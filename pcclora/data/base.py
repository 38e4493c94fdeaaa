"""The contract that every data set keeps, a view on part of one, and the split that validation needs."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pcclora.data.digests import digest_of_arrays, digest_of_file
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.text import same_name

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]
Axis = Literal["x", "y", "z"]


class DataConfig:
    """What is asked of the configuration of every data set; a class below has as a field what its user may choose.

    Attributes:
        root: The folder of its files; empty where it has none.
        task: Which one of a suite of tasks it is; empty where it is one task.
        tuning: Test on validation images, to choose settings; None where there are no such images.
        split_seed: Of the split into training and test set; None where the source has split them.
        normalize: Centre each cloud and scale it into the unit sphere.
        up: The axis of the files that is vertical; None where the source has y up.
        columns: What the columns of tables of points are; empty where they say so, or there are none.
        features: What of a point is read beside its place; empty where that is all there is.
        how_read: The fields that say how objects are read, and not which.
    """

    root: str = ""
    task: str = ""
    tuning: bool | None = None
    split_seed: int | None = None
    normalize: bool = True
    up: Axis | None = None
    columns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    how_read: ClassVar[frozenset[str]] = frozenset()


DATASETS.configs = DataConfig


@dataclass(frozen=True)
class Sample:
    """One object.

    Attributes:
        points: (N, 3 + C) float32: x, y, z (y up where the source says so), then its data set's ``features``.
        label: The class, an index into the data set's ``class_names``.
        part_labels: (N,) int64, the part that each point belongs to, or None where the source has none.
        path: Where the object came from, for messages and tables.
    """

    points: FloatArray
    label: int
    part_labels: IntArray | None
    path: str


@dataclass(frozen=True)
class ImageSample:
    """One image.

    Attributes:
        pixels: (H, W, 3) uint8, RGB, of any size.
        label: The class, an index into the data set's ``class_names``.
        path: Where the image came from, for messages and tables.
    """

    pixels: ByteArray
    label: int
    path: str


@dataclass(frozen=True)
class Parts:
    """What the objects of a data set are made of: ShapeNetPart has 50 parts in 16 classes.

    Attributes:
        names: One a part; a part label indexes it.
        of_class: For each class, the labels of its parts, ascending.

    Raises:
        PccloraError: If a class has no parts, or one that has no name.
    """

    names: tuple[str, ...]
    of_class: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        for label, parts in enumerate(self.of_class):
            if not parts or not 0 <= min(parts) <= max(parts) < len(self.names):
                raise PccloraError(
                    f"Parts: class {label} has the parts {parts}; some of 0..{len(self.names) - 1} needed"
                )

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which class has which part, (classes, parts)."""
        allowed = np.zeros((len(self.of_class), len(self.names)), np.bool_)
        for label, parts in enumerate(self.of_class):
            allowed[label, list(parts)] = True
        return allowed

    def check(self, part_labels: IntArray, label: int, place: str) -> None:
        """Refuse a part label that an object's class does not have.

        Args:
            part_labels: (N,) of one object.
            label: Its class.
            place: Where it came from, for the message.

        Raises:
            PccloraError: Naming the first such label, its point, and the labels that the class has.
        """
        wrong = np.flatnonzero(~np.isin(part_labels, self.of_class[label]))
        if wrong.size:
            raise PccloraError(
                f"{place}: part label {part_labels[wrong[0]]} at point {wrong[0]} ({wrong.size} such points); class "
                f"{label} has the parts {', '.join(map(str, self.of_class[label]))}"
            )


class LabelledDataset(ABC):
    """A deterministic, finite set of objects: the same index gives the same sample, always and in every process.

    Attributes:
        name: The registered name, for result tables.
        split: ``"train"``, ``"test"``, or what else the source has.
        class_names: One name a class; a label indexes it.
        labels: (len,) int64, the class of every sample, known without reading one.
        parts: What each class is made of, or None where the source has no part labels.
        holds: What its samples are: ``"point clouds"`` or ``"images"``.
        fps_ordered: True where the first k points of a stored cloud are its farthest-point sample, for every k.
        features: What of a point stands behind x, y and z, by name; further columns are nobody's.
        root: The folder that it was opened from, if any; names of samples begin below it.
        files: (len) where every sample is a file of its own, else None.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    labels: IntArray
    parts: Parts | None = None
    holds: str
    fps_ordered: bool = False
    features: tuple[str, ...] = ()
    root: str = ""
    files: Sequence[Path] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def __getitem__(self, index: int) -> Any: ...

    def path_of(self, index: int) -> str:
        """Return where a sample comes from: its ``path``, without reading it where the data set can."""
        return str(self[index].path if self.files is None else self.files[index])

    def digest_of(self, index: int) -> str:
        """Return what tells a sample's content from another's: of its file's bytes, or of the numbers that it holds."""
        if self.files is not None:
            return digest_of_file(self.files[index])
        sample = self[index]
        held = (getattr(sample, name, None) for name in ("points", "pixels", "part_labels"))
        return digest_of_arrays(*(array for array in held if array is not None))

    def name_of(self, index: int) -> str:
        """Return what a sample is called, wherever the data lie: its path below ``root``, in NFC, with slashes."""
        path = self.path_of(index)
        inside = path.removeprefix(self.root.rstrip(os.sep) + os.sep) if self.root else path
        return same_name(inside.replace(os.sep, "/"))

    @property
    def names(self) -> list[str]:
        """What each sample is called; see :meth:`name_of`."""
        return [self.name_of(index) for index in range(len(self))]


class PointCloudDataset(LabelledDataset):
    """Point clouds."""

    holds = "point clouds"

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...


class ImageDataset(LabelledDataset):
    """Images of any size."""

    holds = "images"

    @abstractmethod
    def __getitem__(self, index: int) -> ImageSample: ...


def check_split(what: str, split: str, splits: Iterable[str]) -> None:
    """Refuse a split that a data set has not.

    Args:
        what: The data set, for the message.
        split: What was asked for.
        splits: Those that there are.

    Raises:
        PccloraError: Naming these.
    """
    if split not in (known := tuple(splits)):
        raise PccloraError(f"{what}: no split '{split}'; there are {', '.join(known)}")


def check_labels(labels: IntArray, class_names: Sequence[str], places: Sequence[str], what: str) -> None:
    """Refuse a class that has no name.

    Args:
        labels: (M,) of each sample.
        class_names: One name a class.
        places: Where each sample came from.
        what: The data set, for the message.

    Raises:
        PccloraError: Naming the first such sample.
    """
    bad = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if bad.size:
        raise PccloraError(
            f"{places[bad[0]]}: label {labels[bad[0]]} is not in 0..{len(class_names) - 1} ({bad.size} such samples); "
            f"{what} has {len(class_names)} class names, do they belong to these files?"
        )


class Subset(LabelledDataset):
    """A view on some samples of a data set; it keeps the contract and copies no sample.

    Args:
        dataset: The whole.
        indices: Which samples, in this order.
        split: What the part is called, e.g. ``"validation"``; None keeps the whole's name.
    """

    def __init__(self, dataset: LabelledDataset, indices: Sequence[int] | IntArray, *, split: str | None = None):
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64)
        if self.indices.size and not 0 <= self.indices.min() <= self.indices.max() < len(dataset):
            raise PccloraError(f"Subset of {dataset.name}: indices must lie in 0..{len(dataset) - 1}")
        self.name, self.split = dataset.name, split or dataset.split
        self.class_names, self.labels = dataset.class_names, dataset.labels[self.indices]
        self.parts, self.holds, self.fps_ordered = dataset.parts, dataset.holds, dataset.fps_ordered
        self.root, self.features = dataset.root, dataset.features

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def path_of(self, index: int) -> str:
        """Return where a sample comes from."""
        return self.dataset.path_of(int(self.indices[index]))

    def digest_of(self, index: int) -> str:
        """Return what tells a sample's content from any other's."""
        return self.dataset.digest_of(int(self.indices[index]))


def check_test_fraction(fraction: float) -> None:
    """Refuse a ``test_fraction`` that leaves one side empty.

    Raises:
        PccloraError: If it is not between 0 and 1, both excluded.
    """
    if not 0 < fraction < 1:
        raise PccloraError(f"test_fraction is {fraction}; a share between 0 and 1 is needed")


def stratified_split(labels: IntArray, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Split sample indices so that every class gives the same share to both sides.

    A class of at least two samples is on both sides; a single sample stays on the first.

    Args:
        labels: (N,) class of every sample.
        fraction: Share of the second side (validation), between 0 and 1, both excluded.
        seed: Same seed, same split, on every platform.

    Returns:
        Sorted indices of the first side (N - M,) and of the second (M,).

    Raises:
        PccloraError: If ``fraction`` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise PccloraError(f"stratified_split: fraction is {fraction}; choose a share between 0 and 1, as 0.1")
    rng = np.random.Generator(np.random.Philox(seed))
    keys = rng.random(len(labels))
    second: list[IntArray] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        second.append(members[np.argsort(keys[members], kind="stable")[:count]])
    held_out = np.sort(np.concatenate(second)) if second else np.empty(0, np.int64)
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def normalize_unit_sphere(points: NDArray[np.floating]) -> FloatArray:
    """Move the centroid to the origin and scale the farthest point to distance 1; features are kept.

    As ``pc_normalize`` of PointNet++ and its descendants. A cloud whose points are all equal has no size to scale by:
    it becomes zeros, exactly, and no cloud of rounding errors.

    Args:
        points: (N, 3 + C), finite.

    Returns:
        A new (N, 3 + C) float32 array.

    Examples:
        >>> import numpy as np
        >>> from pcclora.data import normalize_unit_sphere
        >>> normalize_unit_sphere(np.array([[10.0, 0, 0], [14.0, 0, 0]])).tolist()
        [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """
    xyz = points[:, :3].astype(np.float64)
    xyz -= xyz[0] if (xyz == xyz[0]).all() else 0
    if (largest := np.abs(xyz).max()) > _SQUARES_FIT:  # sum and squares would overflow
        xyz /= largest
    xyz -= xyz.mean(axis=0)
    if 0 < (largest := np.abs(xyz).max()) < 1 / _SQUARES_FIT:  # squares would vanish
        xyz /= largest
    radius = np.sqrt((xyz**2).sum(axis=1).max())
    with np.errstate(over="ignore"):  # of coordinates, which are replaced
        out = points.astype(np.float32)
    out[:, :3] = xyz / radius if radius > 0 else 0
    return out


_SQUARES_FIT = 1e140
"""Numbers up to which squares are far from the ends of float64."""
