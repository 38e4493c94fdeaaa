"""The test shapes of a part-segmentation run with their true and predicted parts, for the pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora.data import LabelledDataset
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.runs.reload import TrainedRun
from pcclora.runs.segmented import SegmentedCloud
from pcclora.runs.splits import open_side
from pcclora.tasks.parts import PartSegmentation
from pcclora.tasks.settings import PartSegmentationRun
from pcclora.tensor_file import read_tensors

_FORM = {"lengths": (1, False), "parts": (1, False), "probabilities": (1, True)}
"""Of predicted_parts.safetensors: how many dimensions, and whether they are fractions."""


def segmented_test_shapes(run: TrainedRun, indices: Sequence[int] | None = None) -> list[SegmentedCloud]:
    """Return test shapes with their true and predicted parts, as the run's end wrote them down.

    Args:
        run: A finished part-segmentation run, whose data are where they were.
        indices: Which test shapes; all without.

    Returns:
        Each with the points it was scored on, prepared as for the model; the title names its source.

    Raises:
        PccloraError: If the run is none of part segmentation, an index is out of range, or the data cannot be read.
    """
    config, rows, folder = _checked(run), run.folder.read_predictions(), run.folder
    dataset = open_side(config, folder.path)
    clouds = PartSegmentation().test_loader(config, dataset).dataset
    predicted = _Predictions(folder, dataset)
    shapes = []
    for index in range(len(rows)) if indices is None else indices:
        if not 0 <= index < len(rows):
            raise PccloraError(f"{folder.path}: test shape {index}; there are 0 to {len(rows) - 1}")
        cloud = clouds[0, index]
        whole = cloud.query is not None
        parts, probabilities = predicted[index]
        shapes.append(
            SegmentedCloud(
                points=cloud.query if whole else cloud.points[:, :3],
                category=dataset.class_names[cloud.label],
                part_names=predicted.parts.names,
                parts=predicted.parts.of_class[cloud.label],
                truth=cloud.query_labels if whole else cloud.part_labels,
                prediction=parts,
                probabilities=probabilities,
                title=f"test shape {index}, {'/'.join(Path(dataset[index].path).parts[-2:])}",
            )
        )
    return shapes


class _Predictions:
    """predicted_parts.safetensors, shape by shape."""

    def __init__(self, folder: RunFolder, dataset: LabelledDataset) -> None:
        path, remedy = folder.predicted_parts, folder.made_again
        held, _ = read_tensors(path, remedy=remedy)
        if {name: (tensor.ndim, tensor.is_floating_point()) for name, tensor in held.items()} != _FORM:
            raise PccloraError(f"{path}: is not what a part-segmentation run writes; {remedy}")
        lengths, self._labels = held["lengths"].numpy(), held["parts"].numpy()
        self._probabilities = held["probabilities"].numpy()
        self.parts = PartSegmentation().labels(dataset).required_parts
        widths = np.array([len(self.parts.of_class[label]) for label in dataset.labels])
        whole = len(lengths) == len(widths) and (lengths > 0).all() and lengths.sum() == len(self._labels)
        if not whole or (lengths * widths).sum() != len(self._probabilities):
            raise PccloraError(f"{path}: is not of the {len(widths)} test objects of {dataset.name}; {remedy}")
        if not np.isin(self._labels, range(len(self.parts.names))).all():
            raise PccloraError(f"{path}: has labels of parts that are none; {remedy}")
        self._at = np.append(0, lengths.cumsum())
        self._widths, self._probabilities_at = widths, np.append(0, (lengths * widths).cumsum())

    def __getitem__(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        labels = self._labels[self._at[index] : self._at[index + 1]]
        flat = self._probabilities[self._probabilities_at[index] : self._probabilities_at[index + 1]]
        return labels.astype(np.int64), flat.astype(np.float32).reshape(len(labels), self._widths[index])


def _checked(run: TrainedRun) -> PartSegmentationRun:
    _, config = run.summary, run.config  # a run that is not finished is refused
    if not isinstance(config, PartSegmentationRun):
        raise PccloraError(f"{run.path}: its task is '{config.task}'; a part-segmentation run is needed here")
    return config
