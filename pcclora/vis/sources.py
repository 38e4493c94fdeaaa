"""Clouds that need no run: samples of a data set, and files; and files with what a run says of their class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcclora.data import FolderConfig, PointCloudDataset
from pcclora.errors import PccloraError
from pcclora.runs.inputs import Given, read_each
from pcclora.runs.predict import ClassPrediction
from pcclora.runs.segmented import ClassAnswer, SegmentedCloud
from pcclora.text import visible

SHOWN, SHOWN_PARTS = 12, 3
"""Objects that are shown of many if nothing is said of which; of those with parts, which take a row each, fewer."""


def chosen_of(count: int, indices: Sequence[int] | None, *, most: int, what: str) -> Sequence[int]:
    """Return which of many objects are shown: those that were asked for, else evenly drawn ones.

    Args:
        count: How many there are.
        indices: What was asked for.
        most: How many are shown if nothing was.
        what: What they are, as ``test object`` or ``file``.

    Raises:
        PccloraError: If an index is out of range.
    """
    if indices:
        if wrong := [index for index in indices if not 0 <= index < count]:
            raise PccloraError(f"{what} {wrong[0]}; there are 0 to {count - 1}")
        return indices
    evenly: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return evenly


def samples_of(dataset: PointCloudDataset, indices: Sequence[int] | None = None) -> list[SegmentedCloud]:
    """Return samples of a data set, with their true parts if it has any.

    Args:
        dataset: Of point clouds.
        indices: Which samples; some without.

    Raises:
        PccloraError: If it holds no point clouds, or an index is out of range.
    """
    if dataset.holds != "point clouds":
        raise PccloraError(f"{dataset.name}: holds {dataset.holds}; point clouds are needed here")
    most, what = SHOWN if dataset.parts is None else SHOWN_PARTS, f"{dataset.split} object"
    clouds = []
    for index in chosen_of(len(dataset), indices, most=most, what=f"{dataset.name}: {what}"):
        sample = dataset[index]
        parts = dataset.parts
        clouds.append(
            SegmentedCloud(
                points=sample.points[:, :3],
                category=dataset.class_names[sample.label],
                part_names=() if parts is None else parts.names,
                parts=() if parts is None else parts.of_class[sample.label],
                truth=None if parts is None else sample.part_labels,
                title=f"{what} {index}, {'/'.join(Path(sample.path).parts[-2:])}",
            )
        )
    return clouds


def files_as_they_are(given: Sequence[Given]) -> list[SegmentedCloud]:
    """Read clouds as they are: labels, if there are any, are shown as true parts, colours as they are.

    Raises:
        PccloraError: Naming all that cannot be read.
    """
    return read_each(given, _as_it_is)


def classified_files(
    given: Sequence[Given], predictions: Sequence[ClassPrediction], how: FolderConfig
) -> list[SegmentedCloud]:
    """Return clouds as they are with what a run says of their class.

    Args:
        given: The clouds.
        predictions: One each.
        how: How files are read.
    """
    clouds = []
    for one, said in zip(given, predictions, strict=True):
        scan = one.scan(how)
        likely = tuple(zip(said.classes, map(float, said.probabilities), strict=True))
        answer = ClassAnswer(likely)
        clouds.append(SegmentedCloud(scan.points, said.label, colors=scan.colors, title=one.title, answer=answer))
    return clouds


def shortened(objects: Sequence[Given] | Sequence[SegmentedCloud]) -> str:
    """Return what a few objects are called, and how many more there are."""
    more = f" and {len(objects) - 3} more" if len(objects) > 3 else ""
    return " · ".join(one.title for one in objects[:3]) + more


def _as_it_is(given: Given) -> SegmentedCloud:
    scan = given.scan(FolderConfig())
    values, labels = np.unique(scan.labels, return_inverse=True) if scan.labels is not None else ((), None)
    return SegmentedCloud(
        points=scan.points,
        category=visible(Path(given.name).stem),
        part_names=tuple(f"label {value}" for value in values),
        parts=tuple(range(len(values))),
        truth=labels,
        colors=scan.colors,
        title=given.title,
    )
