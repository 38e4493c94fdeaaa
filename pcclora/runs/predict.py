"""What a finished run says of single files: the class of each, or the part of each of its points."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from pcclora.data import (
    Axis,
    DataConfig,
    FolderConfig,
    ImageDataset,
    ImageSample,
    PointCloudDataset,
    Sample,
    Scan,
    normalize_unit_sphere,
    read_cloud,
    read_image,
    read_scan,
    turn_upright,
)
from pcclora.data.readers import READERS
from pcclora.data.readers.images import IMAGE_SUFFIXES
from pcclora.data.sets.layouts import walk_files
from pcclora.engine.environment import make_accelerator
from pcclora.errors import PccloraError, did_you_mean
from pcclora.paths import is_dir
from pcclora.runs.orientation import warn_of_turned
from pcclora.runs.reload import TrainedRun
from pcclora.runs.segmented import SegmentedCloud
from pcclora.tasks.base import Labels
from pcclora.tasks.classification import ClassEvaluation
from pcclora.tasks.parts import PartSegmentation
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import ClassificationRun, ImageRun, PartSegmentationRun
from pcclora.text import visible

logger = logging.getLogger("pcclora")

MOST_POINTS = 8192
"""Points kept of a file to classify, as the ``folder`` data set does; the model's own are drawn from them."""

Probabilities = dict[str, dict[str, float]]
T = TypeVar("T")


class Files(PointCloudDataset):
    """Files of any form, read at once so that a bad one is named before anything is computed.

    Args:
        files: The files; each is read as the ``folder`` data set reads it.
        class_names: Of the run.
        config: How they are read.
    """

    name, split = "files", "predict"
    files: Sequence[Path]

    def __init__(self, files: Sequence[Path], class_names: Sequence[str], config: FolderConfig) -> None:
        self.class_names, self.labels = tuple(class_names), np.zeros(len(files), np.int64)
        self.files = files
        self.clouds = _read_each(files, lambda file: read_cloud(file, config))

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.clouds[index], 0, None, str(self.files[index]))


class Photos(ImageDataset):
    """Image files of any form, upright as their camera says.

    Args:
        files: The files; each is read when its batch is.
        class_names: Of the run.
    """

    name, split = "files", "predict"
    files: Sequence[Path]

    def __init__(self, files: Sequence[Path], class_names: Sequence[str]) -> None:
        self.class_names, self.labels = tuple(class_names), np.zeros(len(files), np.int64)
        self.files = files

    def __getitem__(self, index: int) -> ImageSample:
        return ImageSample(read_image(self.files[index]), 0, str(self.files[index]))


class Scans(PointCloudDataset):
    """Scans of one class, whose parts are not known: all points, in the order of the file.

    Args:
        files: Where each came from.
        scans: What they hold.
        labels: Of the run.
        label: The class.
        config: How they are read.
    """

    name, split = "files", "predict"
    files: Sequence[Path]

    def __init__(
        self, files: Sequence[Path], scans: Sequence[Scan], labels: Labels, label: int, config: FolderConfig
    ) -> None:
        self.class_names, self.parts, self.labels = labels.class_names, labels.parts, np.full(len(scans), label)
        self.files, self.scans, self.config = files, scans, config
        self.unknown = labels.required_parts.of_class[label][0]  # a loader wants some part; nothing looks at it

    def __getitem__(self, index: int) -> Sample:
        points = turn_upright(self.scans[index].points, self.config.up)
        cloud = normalize_unit_sphere(points) if self.config.normalize else points.astype(np.float32)
        return Sample(cloud, int(self.labels[index]), np.full(len(cloud), self.unknown), str(self.files[index]))


def input_files(run: TrainedRun, paths: Sequence[Path]) -> list[Path]:
    """Return the files that paths mean to a run: a folder stands for all files below it that the run can read, sorted.

    What is left out below a folder is counted and said.

    Args:
        run: The run.
        paths: Files, which stay as they are, and folders.

    Raises:
        PccloraError: If a folder has no file that the run can read.
    """
    is_image = isinstance(run.config, ImageRun)
    suffixes = IMAGE_SUFFIXES if is_image else tuple(READERS)
    found: list[Path] = []
    for path in paths:
        files, left_out = walk_files(path, suffixes) if is_dir(path) else ([path], {})
        others = ", ".join(f"{count} {why} (as {visible(str(first))})" for why, (count, first) in left_out.items())
        if not files:
            raise PccloraError(
                f"{path}: no file below this folder can be read ({others or 'it is empty'}); looked for "
                f"{' '.join(suffixes)}"
            )
        if others:
            logger.warning("%s: left out: %s", visible(str(path)), others)
        found += files
    return found


def reading(own: DataConfig, *, up: Axis | None = None, columns: Sequence[str] = ()) -> FolderConfig:
    """Return how files are read for a run: as its own files were, but for what is said of these.

    Args:
        own: The run's data. The benchmarks' data sets have y up by their source.
        up: The axis of the files that is vertical, if it is not that of the run's own.
        columns: What the columns of tables are, if not what those of the run's own are.

    Raises:
        PccloraError: If an axis or a column is none.
    """
    return FolderConfig(
        points=MOST_POINTS,
        normalize=own.normalize,
        up=up or own.up or "y",
        columns=tuple(columns or own.columns),
    )


def predict_files(
    run: TrainedRun,
    files: Sequence[Path],
    *,
    checkpoint: str | None = None,
    up: Axis | None = None,
    columns: Sequence[str] = (),
) -> Probabilities:
    """Predict the class of each file.

    Args:
        run: A finished classification run, of point clouds or of images.
        files: Clouds or meshes of any form that ``pcclora.data.read_points`` reads; images of any form that
            ``pcclora.data.read_image`` does.
        checkpoint: Where the base checkpoint is now, if it has moved.
        up: The axis of the clouds that is vertical; None is that of the run's own files.
        columns: What the columns of tables are; none are those of the run's own files.

    Returns:
        File -> class -> probability, the most probable class first.

    Raises:
        PccloraError: If a file, the run or the base weights cannot be used, or photographs are given an axis.
    """
    classes, config, model = run.summary["classes"], run.config, run.model(checkpoint=checkpoint)
    if not isinstance(config, ClassificationRun | ImageRun):
        raise PccloraError(f"{run.path}: its task is '{config.task}'; a classification run is needed here")
    if isinstance(config, ImageRun):
        if up or columns:
            raise PccloraError(f"up, columns: {run.path} predicts photographs; these are for a run on point clouds")
        dataset: Photos | Files = Photos(files, classes)
    else:
        how = reading(config.data, up=up, columns=columns)
        dataset = Files(files, classes, how)
        warn_of_turned(run.path, dataset.clouds, list(map(str, files)), up=how.up, option="--up ")
    accelerator = make_accelerator(config.train)
    try:
        evaluate = task_of(config).evaluator(config, dataset, accelerator)
        evaluation = cast("ClassEvaluation", evaluate(model.to(accelerator.device)))
    except PccloraError:
        if isinstance(dataset, Photos):  # the first that cannot be read has ended it; now name all
            _read_each(files, read_image, keep=False)
        raise
    found: Probabilities = {}
    for file, row in zip(files, evaluation.logits.softmax(dim=1), strict=True):
        order = row.argsort(descending=True).tolist()
        found[str(file)] = {classes[i]: round(row[i].item(), 6) for i in order}
    return found


def predict_parts(
    run: TrainedRun,
    files: Sequence[Path],
    *,
    category: str | None = None,
    checkpoint: str | None = None,
    up: Axis | None = None,
    columns: Sequence[str] = (),
) -> list[SegmentedCloud]:
    """Predict the part of every point of scans of any size.

    The model sees its number of points of a scan, always the same ones, and labels all others by its own interpolation.

    Args:
        run: A finished part-segmentation run.
        files: Clouds or meshes of any form that ``pcclora.data.read_scan`` reads.
        category: What the objects are: a class of the run; it may be left out where the run has one.
        checkpoint: Where the base checkpoint is now, if it has moved.
        up: The axis of the scans that is vertical; None is that of the run's own files.
        columns: What the columns of tables are; none are those of the run's own files.

    Returns:
        One a file: its points in their order and coordinates, its colours, the prediction and its probabilities.

    Raises:
        PccloraError: If the category is not known, or a file, the run or the base weights cannot be used.
    """
    labels, config = run.labels, run.config
    label = _class_of(category, labels, run)
    how = reading(config.data, up=up, columns=columns)
    scans = _read_each(files, lambda file: read_scan(file, columns=how.columns or None))
    model = run.model(checkpoint=checkpoint)
    if not isinstance(config, PartSegmentationRun):
        raise PccloraError(f"{run.path}: its task is '{config.task}'; a part-segmentation run is needed here")
    # one scan a batch: they differ in size
    config = replace(config, evaluate_on="all", train=replace(config.train, batch_size=1))
    dataset = Scans(files, scans, labels, label, how)
    clouds = [dataset[index].points for index in range(len(scans))]
    warn_of_turned(run.path, clouds, list(map(str, files)), up=how.up, option="--up ")
    accelerator = make_accelerator(config.train)
    found = PartSegmentation().evaluator(config, dataset, accelerator)(model.to(accelerator.device))
    return [
        SegmentedCloud(
            points=scan.points,
            category=labels.class_names[label],
            part_names=labels.required_parts.names,
            parts=labels.required_parts.of_class[label],
            prediction=prediction.numpy(),
            probabilities=probabilities.numpy(),
            colors=scan.colors,
            title=visible(file.name),
        )
        for file, scan, prediction, probabilities in zip(
            files, scans, found.predictions, found.probabilities, strict=True
        )
    ]


def _read_each(files: Sequence[Path], read: Callable[[Path], T], *, keep: bool = True) -> list[T]:
    """Read files, and name all that cannot be in one error, so that nobody mends one after the other."""
    found, problems = [], []
    for file in files:
        try:
            content = read(file)
        except PccloraError as error:
            problems.append(str(error))
        else:
            found += [content] if keep else []
    if len(problems) > 1:
        raise PccloraError("\n  ".join([f"{len(problems)} of {len(files)} files cannot be used:", *problems]))
    if problems:
        raise PccloraError(problems[0])
    return found


def _class_of(category: str | None, labels: Labels, run: TrainedRun) -> int:
    names = labels.class_names
    if category is None and len(names) == 1:
        return 0
    if category is None:
        raise PccloraError(f"{run.path} has {len(names)} categories; say by --category which: {', '.join(names)}")
    if category not in names:
        raise PccloraError(f"unknown category '{category}'{did_you_mean(category, names)}")
    return names.index(category)
