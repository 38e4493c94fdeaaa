"""One object with the parts of its points: what a segmentation run gives, and what every view shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SegmentedCloud:
    """One object, the true parts of its points, the predicted ones, or both.

    Attributes:
        points: (N, 3) in the source's own coordinates and order.
        category: Name of its class.
        part_names: P names; a part label indexes it.
        parts: Labels of the parts that the category has, ascending.
        truth: (N,) true part labels, or None.
        prediction: (N,) predicted part labels, or None.
        probabilities: (N, len(parts)) float32, in the order of ``parts``, or None.
        colors: (N, 3) uint8, the scan's own, or None.
        title: What pictures call it.
        source: Of a prediction, the file, or ``points 0``: its place in the list that was given.
    """

    points: NDArray[np.floating]
    category: str
    part_names: tuple[str, ...]
    parts: tuple[int, ...]
    truth: IntArray | None = None
    prediction: IntArray | None = None
    probabilities: NDArray[np.float32] | None = None
    colors: NDArray[np.uint8] | None = None
    title: str = ""
    source: str = ""

    @property
    def errors(self) -> NDArray[np.bool_] | None:
        """(N,) True where the prediction is wrong; None where truth or prediction is not known."""
        return None if self.truth is None or self.prediction is None else self.truth != self.prediction

    @property
    def confidence(self) -> NDArray[np.float32] | None:
        """(N,) probability of the predicted part, or None."""
        return None if self.probabilities is None else np.asarray(self.probabilities.max(axis=1))
