"""Segmented clouds that need no run: samples of a data set, and a labelled file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcclora.commands import spelled
from pcclora.data import PointCloudDataset, read_scan
from pcclora.errors import PccloraError
from pcclora.runs.segmented import SegmentedCloud


def samples_of(dataset: PointCloudDataset, indices: Sequence[int]) -> list[SegmentedCloud]:
    """Return samples of a data set with their true parts.

    Args:
        dataset: With part labels.
        indices: Which samples.

    Raises:
        PccloraError: If it has no part labels, or an index is out of range.
    """
    if dataset.parts is None:
        raise PccloraError(f"{dataset.name}: has no part labels to show")
    clouds = []
    for index in indices:
        if not 0 <= index < len(dataset):
            raise PccloraError(f"{dataset.name}: {dataset.split} object {index}; there are 0 to {len(dataset) - 1}")
        sample = dataset[index]
        clouds.append(
            SegmentedCloud(
                points=sample.points[:, :3],
                category=dataset.class_names[sample.label],
                part_names=dataset.parts.names,
                parts=dataset.parts.of_class[sample.label],
                truth=sample.part_labels,
                title=f"{dataset.split} object {index}, {'/'.join(Path(sample.path).parts[-2:])}",
            )
        )
    return clouds


def labelled_file(path: Path) -> SegmentedCloud:
    """Read a cloud as it is: its labels, if it has any, are shown as true parts, its colours as they are.

    Raises:
        PccloraError: If it cannot be read, or has neither labels nor colours.
    """
    scan = read_scan(path)
    if scan.labels is None and scan.colors is None:
        segment = spelled("pcclora predict --run DIR")
        raise PccloraError(f"{path}: has neither labels nor colours to show; segment it: {segment}")
    values, labels = np.unique(scan.labels, return_inverse=True) if scan.labels is not None else ((), None)
    return SegmentedCloud(
        points=scan.points,
        category=path.stem,
        part_names=tuple(f"label {value}" for value in values),
        parts=tuple(range(len(values))),
        truth=labels,
        colors=scan.colors,
        title=path.name,
    )
