"""Calibration error as torchmetrics has it; the temperature as a general optimiser finds it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torchmetrics.functional.classification import multiclass_calibration_error

from pcclora.errors import PccloraError
from pcclora.metrics import fit_temperature, reliability


def answers(seed, *, samples=200, classes=7, sharpness=3.0):
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(samples, classes))
    return logits, np.array([rng.choice(classes, p=p) for p in torch.from_numpy(logits / 2).softmax(1).numpy()])


@given(st.integers(0, 10**6), st.sampled_from([1, 10, 15]), st.integers(1, 300))
def test_the_error_is_that_of_torchmetrics(seed, bins, samples):
    logits, labels = answers(seed, samples=samples)
    probabilities = torch.from_numpy(logits).softmax(1)
    expected = multiclass_calibration_error(probabilities, torch.from_numpy(labels), 7, n_bins=bins, norm="l1").item()
    sure, guesses = probabilities.max(dim=1)
    held = reliability(sure, guesses.numpy() == labels, bins=bins)
    assert held.error == pytest.approx(expected, abs=1e-6)  # theirs is of float32
    assert held.counts.sum() == samples and len(held.counts) == bins


def test_a_confidence_of_one_is_in_the_last_bin():
    held = reliability([1.0, 1.0], [True, False])
    assert held.counts[-1] == 2 and held.error == pytest.approx(0.5)


@given(st.integers(0, 10**6), st.sampled_from([0.3, 3.0, 30.0]))
def test_the_temperature_is_the_likeliest(seed, sharpness):
    logits, labels = answers(seed, sharpness=sharpness)
    targets = (200 * np.eye(7)[labels] + 1 / 7) / 201

    def loss(log_t):
        return -(targets * torch.from_numpy(logits / np.exp(log_t)).log_softmax(1).numpy()).sum(axis=1).mean()

    best = minimize_scalar(loss, bounds=np.log([1e-2, 1e2]), method="bounded", options={"xatol": 1e-10})
    assert loss(np.log(fit_temperature(logits, labels))) <= best.fun + 1e-9


def test_it_finds_the_temperature_that_the_answers_were_drawn_at():
    logits, labels = answers(0, samples=20000)
    assert fit_temperature(logits, labels) == pytest.approx(2, rel=0.03)
    assert fit_temperature(10 * logits, labels) == pytest.approx(20, rel=0.03)


def test_few_answers_that_are_all_right_do_not_make_it_sure_of_everything():
    logits = np.eye(4) * 2
    sure = torch.from_numpy(logits / fit_temperature(logits, np.arange(4))).softmax(1).amax()
    assert 0.8 < sure < 0.9


def test_what_is_no_confidence_is_refused():
    for sure, right, words in (([], [], "at least one"), ([0.5], [True, False], "as many"), ([1.5], [True], "0 to 1")):
        with pytest.raises(PccloraError, match=words):
            reliability(sure, right)
    with pytest.raises(PccloraError, match="no samples"):
        fit_temperature(np.zeros((0, 3)), [])
