"""What a finished run is given to predict: points or pixels that are at hand, files, folders, and lists of these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pcclora.data import (
    Axis,
    DataConfig,
    FolderConfig,
    ImageDataset,
    ImageSample,
    PointCloudDataset,
    Sample,
    Scan,
    as_cloud,
    normalize_unit_sphere,
    read_cloud,
    read_image,
    read_scan,
    turn_upright,
)
from pcclora.data.features import columns_of, unit, width_of
from pcclora.data.readers import READERS
from pcclora.data.readers.images import IMAGE_SUFFIXES
from pcclora.data.sets.layouts import walk_files
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.paths import is_dir
from pcclora.tasks.base import Labels
from pcclora.text import visible

MOST_POINTS = 8192
"""Points kept of a cloud to classify, as the ``folder`` data set does; the model's own are drawn from them."""

Input: TypeAlias = str | Path | NDArray[Any] | Tensor
T = TypeVar("T")


@dataclass(frozen=True)
class Given:
    """One object to predict.

    Attributes:
        name: The file as it was written, or ``points 0``, ``image 0``: its place in the list.
        content: The file, points (N, 3 + C) float64, or pixels (H, W, 3) uint8.
        features: What the C columns of points are.
    """

    name: str
    content: Path | NDArray[Any]
    features: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What pictures call it: the name of a file, which folder it lies in is nobody's business."""
        return visible(self.content.name) if isinstance(self.content, Path) else self.name

    def scan(self, how: FolderConfig) -> Scan:
        """Return all its points in their order, as they are."""
        if isinstance(self.content, Path):
            return read_scan(self.content, columns=how.columns or None, features=how.features)
        points, beside = np.split(self._rows(how), [3], axis=1)
        return Scan(points, features=beside.astype(np.float32) if how.features else None)

    def cloud(self, how: FolderConfig) -> NDArray[np.float32]:
        """Return its points as a classifier sees them."""
        return read_cloud(self.content, how) if isinstance(self.content, Path) else as_cloud(self._rows(how), how)

    def _rows(self, how: FolderConfig) -> NDArray[np.float64]:
        """Return points that are at hand with the features that are wanted of theirs, (N, 3 + C)."""
        rows = np.asarray(self.content)
        missing = [name for name in how.features if name not in self.features]
        if missing:
            raise PccloraError(
                f"{self.name}: has no {missing[0]}, which the run reads of each point; its {rows.shape[1]} columns are "
                f"{' '.join(('x y z', *self.features))}"
            )
        return np.concatenate([rows[:, :3], *(rows[:, columns_of(n, self.features)] for n in how.features)], axis=1)

    def pixels(self) -> NDArray[np.uint8]:
        """Return the pixels of an image."""
        return read_image(self.content) if isinstance(self.content, Path) else self.content


class Files(PointCloudDataset):
    """Clouds to classify, read at once so that a bad one is named before anything is computed.

    Args:
        given: The clouds; files are read as the ``folder`` data set reads them.
        class_names: Of the run.
        how: How they are read.
    """

    name, split = "files", "predict"

    def __init__(self, given: Sequence[Given], class_names: Sequence[str], how: FolderConfig) -> None:
        self.class_names, self.labels = tuple(class_names), np.zeros(len(given), np.int64)
        self.given, self.features = given, how.features
        self.clouds = read_each(given, lambda one: one.cloud(how))

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.clouds[index], 0, None, self.given[index].name)


class Photos(ImageDataset):
    """Images to classify, upright as their camera says.

    Args:
        given: The images; each is read when its batch is.
        class_names: Of the run.
    """

    name, split = "files", "predict"

    def __init__(self, given: Sequence[Given], class_names: Sequence[str]) -> None:
        self.class_names, self.labels = tuple(class_names), np.zeros(len(given), np.int64)
        self.given = given

    def __getitem__(self, index: int) -> ImageSample:
        return ImageSample(self.given[index].pixels(), 0, self.given[index].name)


class OneScan(PointCloudDataset):
    """A scan whose parts are not known: all points, in their order.

    Args:
        given: Where it came from.
        scan: What it holds.
        labels: Of the run.
        label: Its class.
        how: How it is turned and scaled.
    """

    name, split = "files", "predict"

    def __init__(self, given: Given, scan: Scan, labels: Labels, label: int, how: FolderConfig) -> None:
        self.class_names, self.parts, self.labels = labels.class_names, labels.parts, np.array([label])
        points, self.features = turn_upright(scan.rows, how.up, how.features), how.features
        cloud = normalize_unit_sphere(points) if how.normalize else points.astype(np.float32)
        unknown = labels.required_parts.of_class[label][0]  # a loader wants some part; nothing looks at it
        self.sample = Sample(cloud, label, np.full(len(cloud), unknown), given.name)

    def __getitem__(self, index: int) -> Sample:
        return self.sample


def gather(
    inputs: Input | Sequence[Input], *, images: bool, features: tuple[str, ...] = ()
) -> tuple[list[Given], bool]:
    """Return the objects that are meant, in order, and whether it is a single one rather than a list of them.

    Args:
        inputs: Points (N, 3 + C) or pixels (H, W, 3), a file, a folder, or a list of these. A folder stands for all
            files below it that can be read, sorted; what is left out there is counted and said.
        images: Whether pictures are meant, or clouds.
        features: What the C further columns of points are.

    Raises:
        PccloraError: If one is none of these, or a folder has no file that can be read.
    """
    single = isinstance(inputs, str | Path | np.ndarray | Tensor)
    many: Any = [inputs] if single else inputs
    if not isinstance(many, Sequence):
        raise PccloraError(f"{type(inputs).__name__}: {_WANTED[images]}, a file, a folder or a list of these is needed")
    found: list[Given] = []
    for place, one in enumerate(many):
        if isinstance(one, str | Path):
            file = Path(one)
            found += [Given(str(path), path) for path in (_below(file, images) if is_dir(file) else [file])]
        else:
            name = f"{'image' if images else 'points'} {place}"
            content = _pixels(one, name) if images else _points(one, name, features)
            found.append(Given(name, content, features))
    return found, single and not (isinstance(inputs, str | Path) and is_dir(Path(inputs)))


def reading(own: DataConfig, *, up: Axis | None = None, columns: Sequence[str] = ()) -> FolderConfig:
    """Return how clouds are read for a run: as its own files were, but for what is said of these.

    Args:
        own: The run's data. The benchmarks' data sets have y up by their source.
        up: The axis that is vertical, if it is not that of the run's own.
        columns: What the columns of tables are, if not what those of the run's own are.

    Raises:
        PccloraError: If an axis or a column is none.
    """
    return FolderConfig(
        points=MOST_POINTS,
        normalize=own.normalize,
        up=up or own.up or "y",
        columns=tuple(columns or own.columns),
        features=own.features,
    )


def read_each(given: Sequence[Given], read: Callable[[Given], T], *, keep: bool = True) -> list[T]:
    """Read objects, and name all that cannot be in one error, so that nobody mends one after the other."""
    found, problems = [], []
    for one in given:
        try:
            content = read(one)
        except PccloraError as error:
            problems.append(str(error))
        else:
            found += [content] if keep else []
    if len(problems) > 1:
        raise PccloraError("\n  ".join([f"{len(problems)} of {len(given)} files cannot be used:", *problems]))
    if problems:
        raise PccloraError(problems[0])
    return found


_WANTED = ("points (N, 3)", "pixels (H, W, 3) uint8")


def _below(folder: Path, images: bool) -> list[Path]:
    suffixes = IMAGE_SUFFIXES if images else tuple(READERS)
    files, left_out = walk_files(folder, suffixes)
    others = ", ".join(f"{count} {why} (as {visible(str(first))})" for why, (count, first) in left_out.items())
    if not files:
        raise PccloraError(
            f"{folder}: no file below this folder can be read ({others or 'it is empty'}); looked for "
            f"{' '.join(suffixes)}"
        )
    if others:
        logger.warning("%s: left out: %s", visible(str(folder)), others)
    return files


def _points(values: Any, name: str, features: tuple[str, ...]) -> NDArray[np.float64]:
    array, width = _array(values, name, images=False), 3 + width_of(features)
    if array.ndim != 2 or array.shape[1] != width or not len(array) or array.dtype.kind not in "fiu":
        more = "; several clouds are a list" if array.ndim == 3 else f"; take the first {width}: points[:, :{width}]"
        hint = more if array.ndim == 3 or (array.ndim == 2 and array.shape[1] > width) else ""
        what = f" (x y z and {' and '.join(features)})" if features else ""
        raise PccloraError(
            f"{name}: shape {array.shape} of {array.dtype}; numbers (N, {width}){what}, N from 1, are needed{hint}"
        )
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():  # in a file they are left out; here the answers stand in the order of the points
        raise PccloraError(
            f"{name}: {bad.sum()} of {len(array)} points are NaN or infinite, the first is number {bad.argmax()}; "
            "leave them out: points[np.isfinite(points).all(axis=1)]"
        )
    rows = array.astype(np.float64)
    for feature in features:
        own = rows[:, columns_of(feature, features)]
        if feature == "normal":
            own[:] = unit(own)
        elif own.min() < 0 or own.max() > 1:
            raise PccloraError(f"{name}: its {feature} goes from {own.min():g} to {own.max():g}; [0, 1] is expected")
    return rows


def _pixels(values: Any, name: str) -> NDArray[np.uint8]:
    array = _array(values, name, images=True)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size or array.dtype != np.uint8:
        raise PccloraError(f"{name}: shape {array.shape} of {array.dtype}; RGB bytes (H, W, 3) uint8 are needed")
    return array


def _array(values: Any, name: str, *, images: bool) -> NDArray[Any]:
    if isinstance(values, Tensor):
        held = values.detach().cpu()
        return np.asarray(held.double() if held.is_floating_point() else held)
    if not isinstance(values, np.ndarray):
        raise PccloraError(f"{name}: {type(values).__name__}; {_WANTED[images]} as an array or tensor, or a file")
    return values
