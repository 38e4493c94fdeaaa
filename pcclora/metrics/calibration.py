"""Whether a classifier is as often right as it says: calibration error, reliability, and the temperature that mends it.

Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599). Must agree with torchmetrics'
``CalibrationError`` (norm ``l1``), which has a sixteenth bin for confidences of exactly 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcclora.errors import PccloraError

BINS = 15
COLDEST, HOTTEST = 1e-2, 1e2
"""What a temperature may be."""


@dataclass(frozen=True)
class Reliability:
    """Answers by how sure they are, in bins of equal width from 0 to 1.

    Attributes:
        counts: (bins,) answers.
        confidence: (bins,) their mean confidence, 0 where there is none.
        accuracy: (bins,) the share of them that is right, 0 where there is none.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Mean distance of confidence and accuracy over the answers (0 to 1), the expected calibration error."""
        return float((self.counts * np.abs(self.confidence - self.accuracy)).sum() / self.counts.sum())


def reliability(confidences: ArrayLike, right: ArrayLike, *, bins: int = BINS) -> Reliability:
    """Sort answers into bins by their confidence.

    Args:
        confidences: (N,) probability of each predicted class, from 0 to 1.
        right: (N,) whether it is the true one.
        bins: Number of bins.

    Raises:
        PccloraError: If there are no answers, or a confidence is no probability.

    Examples:
        >>> from pcclora.metrics import reliability
        >>> round(reliability([0.9, 0.9, 0.9, 0.6], [True, True, False, True]).error, 3)
        0.275
    """
    sure, good = np.asarray(confidences, np.float64).ravel(), np.asarray(right, np.bool_).ravel()
    if not len(sure) or len(sure) != len(good):
        raise PccloraError(
            f"reliability: {len(sure)} confidences and {len(good)} answers; as many, at least one, needed"
        )
    if not ((sure >= 0) & (sure <= 1)).all():
        raise PccloraError("reliability: a confidence is not from 0 to 1")
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values, minlength=bins) for values in (sure, good)]
    return Reliability(counts, *(total / np.maximum(counts, 1) for total in sums))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the number that logits are divided by so that their probabilities are as likely as can be.

    The targets are Platt's: to N true classes comes one answer more, of every class alike. So few answers that are all
    right do not make a model sure of everything. The likelihood has one maximum, which bisection finds.

    Args:
        logits: (N, C) of samples that the model was not trained on.
        labels: (N,) their classes.

    Raises:
        PccloraError: If there is no sample.
    """
    scores, classes = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if not len(scores):
        raise PccloraError("a temperature cannot be fitted to no samples")
    samples = len(scores)
    scores = scores - scores.max(axis=1, keepdims=True)
    wanted = (samples * scores[np.arange(samples), classes].mean() + scores.mean()) / (samples + 1)
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        weights = np.exp(scores / np.exp(middle))
        expected = ((weights * scores).sum(axis=1) / weights.sum(axis=1)).mean()
        low, high = (middle, high) if expected > wanted else (low, middle)
    return float(np.exp((low + high) / 2))
