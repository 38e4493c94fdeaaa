"""The two mIoU figures of part segmentation, from one and the same set of predictions.

Yi et al., "A Scalable Active Framework for Region Annotation in 3D Shape Collections" (SIGGRAPH Asia 2016), and the
evaluation code of PointNet++ and its descendants: a shape's IoU is the mean over the parts of its category, a part that
is neither there nor predicted counts 1; instance mIoU is the mean over shapes, class mIoU the mean over categories of
the mean over their shapes. Must agree with torchmetrics' Jaccard index of one shape where every part occurs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcclora.errors import PccloraError


@dataclass(frozen=True)
class CategoryScore:
    """The shapes of one category.

    Attributes:
        iou: Mean of their mIoU, 0 to 1.
        shapes: How many they are.
    """

    iou: float
    shapes: int


@dataclass(frozen=True)
class PartScores:
    """What the predictions of a test set are worth.

    Attributes:
        instance_miou: Mean over the shapes, 0 to 1.
        class_miou: Mean over the categories that have shapes, 0 to 1; one without shapes does not count.
        accuracy: Share of right points, all shapes together.
        categories: By label, those that have shapes.
    """

    instance_miou: float
    class_miou: float
    accuracy: float
    categories: dict[int, CategoryScore]


def part_ious(truth: ArrayLike, prediction: ArrayLike, parts: Sequence[int]) -> NDArray[np.float64]:
    """Return the intersection over union of each part of one shape; 1 for a part absent from both.

    Args:
        truth: (N,) true part labels.
        prediction: (N,) predicted ones: the best among the parts of the shape's category, not among all.
        parts: The labels of the category's parts.

    Returns:
        (len(parts),), 0 to 1; the shape's mIoU is its mean.

    Raises:
        PccloraError: If the lengths differ, there are no points, or a label is none of the parts.

    Examples:
        >>> from pcclora.metrics import part_ious
        >>> part_ious([4, 4, 5, 5], [4, 4, 4, 5], parts=[4, 5, 6]).round(3).tolist()
        [0.667, 0.5, 1.0]
    """
    true, predicted = np.asarray(truth).ravel(), np.asarray(prediction).ravel()
    if len(true) != len(predicted) or not len(true):
        raise PccloraError(f"part_ious: {len(true)} true and {len(predicted)} predicted labels; as many, not 0, needed")
    for what, labels in (("true", true), ("predicted", predicted)):
        wrong = labels[~np.isin(labels, parts)]
        if wrong.size:
            raise PccloraError(
                f"part_ious: {what} part label {wrong[0]}; the category has {', '.join(map(str, parts))}"
            )
    is_true, is_predicted = (labels[:, None] == np.asarray(parts) for labels in (true, predicted))  # (N, len(parts))
    union = (is_true | is_predicted).sum(axis=0)
    both = (is_true & is_predicted).sum(axis=0)
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)


def score_parts(shape_mious: ArrayLike, labels: ArrayLike, *, correct: ArrayLike, points: ArrayLike) -> PartScores:
    """Summarise the shapes of a test set; each has been reduced to three numbers, so no predictions need be kept.

    Args:
        shape_mious: (S,) mean of :func:`part_ious` of each shape.
        labels: (S,) its category.
        correct: (S,) how many of its points are right.
        points: (S,) how many it has.

    Raises:
        PccloraError: If the lengths differ or there are no shapes.
    """
    mious, category = np.asarray(shape_mious, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    right, total = np.asarray(correct, dtype=np.int64), np.asarray(points, dtype=np.int64)
    lengths = [len(values) for values in (mious, category, right, total)]
    if not lengths[0] or len(set(lengths)) > 1:
        raise PccloraError(
            f"score_parts: mIoUs, labels, right and all points of {lengths} shapes; as many, not 0, needed"
        )
    categories = {
        int(label): CategoryScore(float(mious[category == label].mean()), int((category == label).sum()))
        for label in np.unique(category)
    }
    return PartScores(
        instance_miou=float(mious.mean()),
        class_miou=float(np.mean([score.iou for score in categories.values()])),
        accuracy=float(right.sum() / total.sum()),
        categories=categories,
    )
