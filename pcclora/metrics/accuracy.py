"""Classification accuracy from a confusion matrix, and what repeated runs say about it.

Must agree with scikit-learn's ``confusion_matrix``, ``accuracy_score`` and ``balanced_accuracy_score``, and with
torchmetrics' micro and macro accuracy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcclora.errors import PccloraError
from pcclora.extras import of_extra

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """What repeated measurements of one quantity say.

    Attributes:
        mean: Their mean.
        std: Their sample standard deviation (n - 1 in the denominator); None for a single value.
        half_width: Half of the 95 % confidence interval of the mean, by Student's t; None for a single value.
        values: The measurements.
    """

    mean: float
    std: float | None
    half_width: float | None
    values: tuple[float, ...]


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, *, num_classes: int) -> Counts:
    """Count predictions by true class.

    Args:
        labels: (N,) true classes, 0 to num_classes - 1.
        predictions: (N,) predicted classes, of the same range.
        num_classes: Number of classes.

    Returns:
        (num_classes, num_classes) int64; rows are true classes, columns predicted ones.

    Raises:
        PccloraError: If the lengths differ or a class is out of range.

    Examples:
        >>> from pcclora.metrics import accuracy, confusion_matrix, mean_class_accuracy
        >>> confusion = confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], num_classes=2)
        >>> confusion.tolist()
        [[2, 1], [0, 1]]
        >>> accuracy(confusion), round(mean_class_accuracy(confusion), 3)
        (0.75, 0.833)
    """
    true, predicted = np.asarray(labels, dtype=np.int64).ravel(), np.asarray(predictions, dtype=np.int64).ravel()
    if len(true) != len(predicted):
        raise PccloraError(f"confusion_matrix: {len(true)} labels but {len(predicted)} predictions")
    for what, values in (("label", true), ("prediction", predicted)):
        wrong = values[(values < 0) | (values >= num_classes)]
        if wrong.size:
            raise PccloraError(f"confusion_matrix: {what} {wrong[0]} is not in 0..{num_classes - 1}")
    counts = np.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def accuracy(confusion: Counts) -> float:
    """Return the share of samples on the diagonal, 0 to 1 (overall accuracy, OA).

    Raises:
        PccloraError: If the matrix holds no samples.
    """
    return float(np.trace(_checked(confusion)) / confusion.sum())


def mean_class_accuracy(confusion: Counts) -> float:
    """Return the mean recall, 0 to 1, over the classes that occur (mAcc, balanced accuracy).

    Raises:
        PccloraError: If the matrix holds no samples.
    """
    support = _checked(confusion).sum(axis=1)
    present = support > 0
    return float((np.diag(confusion)[present] / support[present]).mean())


def spread(values: Sequence[float]) -> Spread:
    """Summarise repeated measurements, one a seed or fold.

    Args:
        values: At least one.

    Raises:
        PccloraError: If there is none.

    Examples:
        >>> from pcclora.metrics import spread
        >>> three_seeds = spread([0.90, 0.92, 0.91])
        >>> round(three_seeds.mean, 4), round(three_seeds.std, 4), round(three_seeds.half_width, 4)
        (0.91, 0.01, 0.0248)
    """
    if not values:
        raise PccloraError("spread: no values")
    held, n = tuple(float(v) for v in values), len(values)
    if n == 1:
        return Spread(held[0], None, None, held)
    with of_extra("train", "a confidence interval"):
        from scipy.stats import t

    std = float(np.std(held, ddof=1))
    return Spread(float(np.mean(held)), std, float(t.ppf(0.975, n - 1)) * std / n**0.5, held)


def _checked(confusion: Counts) -> Counts:
    if not confusion.sum():
        raise PccloraError("accuracy of no samples: the confusion matrix is empty")
    return confusion
