"""What a finished run says of a scan, put to the points that are shown."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcclora.app.scans import OpenScan
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.runs.reload import TrainedRun


@dataclass(frozen=True)
class Prediction:
    """What a run says of one scan.

    Attributes:
        run: The run's name.
        category: The class: the most probable one, or the one whose parts were asked for.
        classes: Class -> probability, the most probable first; empty of a run on parts.
        parts: Names of the category's parts; empty of a run on classes.
        labels: (n,) the part of each point that is shown, an index into ``parts``, or None.
        confidence: (n,) how probable that part is; of a run on classes how probable the class is, everywhere.
        remarks: What the run said beside it, as that the scan is unlike the training scans.
    """

    run: str
    category: str
    classes: dict[str, float]
    parts: tuple[str, ...]
    labels: NDArray[np.int64] | None
    confidence: NDArray[np.float32]
    remarks: tuple[str, ...] = ()

    def as_labels(self, parts: Sequence[str]) -> NDArray[np.int16]:
        """Return the labels (n,) as those of the same parts in another order; -1 where it has no such part.

        Args:
            parts: Names, in the order of their labels.
        """
        if self.labels is None:
            raise PccloraError(f"{self.run} predicts classes, and no parts; choose a run of part segmentation")
        places = [parts.index(name) if name in parts else -1 for name in self.parts]
        return np.array(places, np.int16)[self.labels]


def predict(name: str, run: TrainedRun, scan: OpenScan, category: str) -> Prediction:
    """Ask a run about a scan.

    Args:
        name: What the run is called.
        run: A run on point clouds.
        scan: The scan.
        category: Its class, which a run on parts has to know; empty if it is not known.

    Raises:
        PccloraError: If the run is of images, or has no such category.
    """
    if run.task == "image":
        raise PccloraError(f"{name} predicts photographs; a run on point clouds is needed")
    wanted = None if run.task == "cls" or (not category and len(run.classes) == 1) else category or None
    with _heard() as remarks:
        found = run.predict(scan.rows(run.features), up=scan.up, category=wanted)
    said = tuple(remark.removeprefix("points 0: ") for remark in remarks)
    if run.task == "cls":
        classes = dict(zip(found.classes, found.probabilities.tolist(), strict=True))
        return Prediction(name, found.label, classes, (), None, np.full(len(scan), found.confidence, np.float32), said)
    names = tuple(found.part_names[part].removeprefix(f"{found.category}: ") for part in found.parts)
    labels = np.searchsorted(found.parts, found.prediction)
    return Prediction(name, found.category, {}, names, labels, found.confidence, said)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what the package warns of meanwhile: on a terminal nobody who sits before the browser reads it."""
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)
