"""One object with its class or the parts of its points: what a run gives of it, and what every view shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ClassAnswer:
    """What a classification run says of an object.

    Attributes:
        likely: Name and probability of classes, the most probable first: all of them, or those that are known.
        truth: Its true class, or None.
    """

    likely: tuple[tuple[str, float], ...]
    truth: str | None = None

    @property
    def guess(self) -> str:
        """The predicted class."""
        return self.likely[0][0]

    @property
    def confidence(self) -> float:
        """The probability of the predicted class."""
        return self.likely[0][1]

    @property
    def wrong(self) -> bool:
        """Whether it is known to be wrong."""
        return self.truth is not None and self.truth != self.guess


@dataclass(frozen=True)
class SegmentedCloud:
    """One object, and what is known of it: the parts of its points, true or predicted, or its class.

    Attributes:
        points: (N, 3) in the source's own coordinates and order.
        category: Name of its class, or of what it is.
        part_names: P names; a part label indexes it.
        parts: Labels of the parts that the category has, ascending.
        truth: (N,) true part labels, or None.
        prediction: (N,) predicted part labels, or None.
        probabilities: (N, len(parts)) float32, in the order of ``parts``, or None.
        colors: (N, 3) uint8, the scan's own, or None.
        title: What pictures call it.
        source: Of a prediction, the file, or ``points 0``: its place in the list that was given.
        answer: What a classification run says of it, or None.
    """

    points: NDArray[np.floating]
    category: str
    part_names: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()
    truth: IntArray | None = None
    prediction: IntArray | None = None
    probabilities: NDArray[np.float32] | None = None
    colors: NDArray[np.uint8] | None = None
    title: str = ""
    source: str = ""
    answer: ClassAnswer | None = None

    @property
    def errors(self) -> NDArray[np.bool_] | None:
        """(N,) True where the prediction is wrong; None where truth or prediction is not known."""
        return None if self.truth is None or self.prediction is None else self.truth != self.prediction

    @property
    def confidence(self) -> NDArray[np.float32] | None:
        """(N,) probability of the predicted part, or None."""
        return None if self.probabilities is None else np.asarray(self.probabilities.max(axis=1))
