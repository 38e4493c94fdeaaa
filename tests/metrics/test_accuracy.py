"""Accuracy against scikit-learn and torchmetrics, spread against scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcclora.errors import PccloraError
from pcclora.metrics import accuracy, confusion_matrix, mean_class_accuracy, spread

CLASSES = 5
pairs = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_agrees_with_scikit_learn(drawn):
    from sklearn import metrics

    labels, guesses = map(np.array, zip(*drawn, strict=True))
    ours = confusion_matrix(labels, guesses, num_classes=CLASSES)
    np.testing.assert_array_equal(ours, metrics.confusion_matrix(labels, guesses, labels=range(CLASSES)))
    assert accuracy(ours) == pytest.approx(metrics.accuracy_score(labels, guesses), abs=1e-12)
    recall = metrics.recall_score(labels, guesses, labels=np.unique(labels), average="macro", zero_division=0)
    assert mean_class_accuracy(ours) == pytest.approx(recall, abs=1e-12)


def test_agrees_with_torchmetrics():
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

    generator = torch.Generator().manual_seed(0)
    labels, guesses = (torch.randint(CLASSES, (200,), generator=generator) for _ in range(2))
    ours = confusion_matrix(labels, guesses, num_classes=CLASSES)
    np.testing.assert_array_equal(ours, multiclass_confusion_matrix(guesses, labels, CLASSES))
    assert accuracy(ours) == pytest.approx(multiclass_accuracy(guesses, labels, CLASSES, average="micro").item())
    assert mean_class_accuracy(ours) == pytest.approx(multiclass_accuracy(guesses, labels, CLASSES).item())


def test_a_class_that_does_not_occur_does_not_count():
    assert mean_class_accuracy(confusion_matrix([0, 0, 1], [0, 1, 2], num_classes=3)) == pytest.approx(0.25)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_spread_agrees_with_scipy(values):
    from scipy import stats

    found = spread(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    sem = stats.sem(values)
    if sem > 1e-12:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=sem)
        assert found.half_width == pytest.approx((high - low) / 2)


def test_one_value_has_no_spread():
    found = spread([0.5])
    assert (found.mean, found.std, found.half_width) == (0.5, None, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confusion_matrix([0, 1], [0], num_classes=2), "2 labels but 1 predictions"),
        (lambda: confusion_matrix([0, 2], [0, 0], num_classes=2), "label 2 is not in 0..1"),
        (lambda: confusion_matrix([0, 1], [0, -1], num_classes=2), "prediction -1 is not in 0..1"),
        (lambda: accuracy(np.zeros((2, 2), np.int64)), "no samples"),
        (lambda: mean_class_accuracy(np.zeros((2, 2), np.int64)), "no samples"),
        (lambda: spread([]), "no values"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(PccloraError, match=message):
        call()
