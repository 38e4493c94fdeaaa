"""Part IoU against sets of points, torchmetrics, and the field's rule worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pcclora.errors import PccloraError
from pcclora.metrics import part_ious, score_parts

PARTS = (4, 5, 9)
part = st.sampled_from(PARTS)
shape = st.lists(st.tuples(part, part), min_size=1, max_size=40)


def brute_force(pairs: list[tuple[int, int]]) -> list[float]:
    ious = []
    for p in PARTS:
        true = {i for i, (t, _) in enumerate(pairs) if t == p}
        predicted = {i for i, (_, q) in enumerate(pairs) if q == p}
        ious.append(len(true & predicted) / len(true | predicted) if true | predicted else 1.0)
    return ious


@given(shape)
def test_equals_sets_of_points(pairs):
    truth, prediction = map(np.array, zip(*pairs, strict=True))
    np.testing.assert_allclose(part_ious(truth, prediction, PARTS), brute_force(pairs), rtol=1e-12)


@given(st.lists(st.tuples(st.integers(0, 2), shape), min_size=1, max_size=12))
def test_both_means_equal_plain_loops(shapes):
    ious = [float(np.mean(brute_force(pairs))) for _, pairs in shapes]
    labels = [label for label, _ in shapes]
    correct = [sum(t == p for t, p in pairs) for _, pairs in shapes]
    points = [len(pairs) for _, pairs in shapes]
    scores = score_parts(ious, labels, correct=correct, points=points)
    of_category = {c: [iou for iou, label in zip(ious, labels, strict=True) if label == c] for c in set(labels)}
    assert scores.instance_miou == pytest.approx(sum(ious) / len(ious))
    assert scores.class_miou == pytest.approx(np.mean([np.mean(values) for values in of_category.values()]))
    assert scores.accuracy == pytest.approx(sum(correct) / sum(points))
    assert {c: score.shapes for c, score in scores.categories.items()} == {c: len(v) for c, v in of_category.items()}
    for c, values in of_category.items():
        assert scores.categories[c].iou == pytest.approx(np.mean(values))


def test_equals_torchmetrics_where_every_part_occurs():
    from torchmetrics.functional.classification import multiclass_jaccard_index

    generator = torch.Generator().manual_seed(0)
    truth, prediction = (torch.randint(4, (300,), generator=generator) for _ in range(2))
    expected = multiclass_jaccard_index(prediction, truth, num_classes=4, average=None)
    np.testing.assert_allclose(part_ious(truth, prediction, range(4)), expected, rtol=1e-6)


def test_a_part_absent_from_both_counts_one():
    assert part_ious([0, 0, 1], [0, 0, 1], (0, 1, 2)).tolist() == [1, 1, 1]
    assert part_ious([0, 0, 0], [0, 2, 2], (0, 1, 2)).tolist() == [1 / 3, 1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: part_ious([4, 5], [4], PARTS), "2 true and 1 predicted labels"),
        (lambda: part_ious([], [], PARTS), "0 true and 0 predicted labels"),
        (lambda: part_ious([4, 6], [4, 4], PARTS), "true part label 6; the category has 4, 5, 9"),
        (lambda: part_ious([4, 4], [4, -1], PARTS), "predicted part label -1"),
        (lambda: score_parts([], [], correct=[], points=[]), r"of \[0, 0, 0, 0\] shapes"),
        (lambda: score_parts([1.0], [0, 1], correct=[1], points=[1]), r"of \[1, 2, 1, 1\] shapes"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(PccloraError, match=message):
        call()
