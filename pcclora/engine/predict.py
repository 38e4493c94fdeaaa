"""Class probabilities of single files, prepared as the run's test clouds were."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcclora.data import PointCloudDataset, Sample, read_cloud
from pcclora.engine.classification import Classification
from pcclora.engine.environment import make_accelerator
from pcclora.engine.run_folder import RunFolder
from pcclora.engine.settings import ClassificationRun
from pcclora.engine.trained_run import load_run
from pcclora.errors import PccloraError

MOST_POINTS = 8192
"""Points kept of a file, as the ``folder`` data set does by default; the model's own number is drawn from them."""

Probabilities = dict[str, dict[str, float]]


class Files(PointCloudDataset):
    """Files of any form, read at once so that a bad one is named before anything is computed.

    Args:
        files: The files; each is read as the ``folder`` data set reads it.
        class_names: Of the run.
        normalize: Whether the run's clouds were scaled into the unit sphere.
    """

    name, split = "files", "predict"

    def __init__(self, files: Sequence[Path], class_names: Sequence[str], *, normalize: bool) -> None:
        self.class_names, self.labels = tuple(class_names), np.zeros(len(files), np.int64)
        self.files = files
        self.clouds = [read_cloud(file, points=MOST_POINTS, normalize=normalize) for file in files]

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.clouds[index], 0, None, str(self.files[index]))


def predict_files(folder: RunFolder, files: Sequence[Path], *, checkpoint: str | None = None) -> Probabilities:
    """Predict the class of each file.

    Args:
        folder: A finished classification run.
        files: Clouds or meshes of any form that ``pcclora.data.read_points`` reads.
        checkpoint: Where the base checkpoint is now, if it has moved.

    Returns:
        File -> class -> probability, the most probable class first.

    Raises:
        PccloraError: If a file, the run or the base weights cannot be used.
    """
    classes = folder.read_summary()["classes"]
    config, model = load_run(folder, checkpoint=checkpoint)
    if not isinstance(config, ClassificationRun):
        raise PccloraError(f"{folder.path}: its task is '{config.task}'; a classification run is needed here")
    dataset = Files(files, classes, normalize=getattr(config.data, "normalize", True))
    accelerator = make_accelerator(config.train)
    evaluation = Classification().evaluator(config, dataset, accelerator)(model.to(accelerator.device))
    found: Probabilities = {}
    for file, row in zip(files, evaluation.logits.softmax(dim=1), strict=True):
        order = row.argsort(descending=True).tolist()
        found[str(file)] = {classes[i]: round(row[i].item(), 6) for i in order}
    return found
