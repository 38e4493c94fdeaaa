"""Paired differences against scipy's test, and Holm's correction against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from pcclora.errors import PccloraError
from pcclora.metrics import paired_differences


@given(st.integers(2, 5), st.integers(2, 12), st.integers(0, 10**6))
def test_agrees_with_scipy_and_with_holms_definition(methods, folds, seed):
    rng = np.random.default_rng(seed)
    values = {f"m{i}": rng.normal(i * rng.random(), 1, folds).tolist() for i in range(methods)}
    pairs = paired_differences(values)
    assert len(pairs) == methods * (methods - 1) // 2
    for pair in pairs:
        expected = ttest_rel(values[pair.first], values[pair.second])
        assert pair.p == pytest.approx(expected.pvalue, rel=1e-9)
        low, high = expected.confidence_interval(0.95)
        assert pair.mean == pytest.approx((low + high) / 2) and pair.half_width == pytest.approx((high - low) / 2)
    ps = sorted(pair.p for pair in pairs)
    for pair in pairs:  # the largest of (m - i) p_i over all p that are no larger
        ranks = [i for i, p in enumerate(ps) if p <= pair.p]
        assert pair.p_holm == pytest.approx(min(1.0, max((len(ps) - i) * ps[i] for i in ranks)))
        assert pair.more_than_noise == (pair.p_holm < 0.05)


def test_a_shared_noise_of_folds_hides_nothing():
    folds = np.random.default_rng(0).normal(0.8, 0.1, 10)
    better = folds + np.random.default_rng(1).normal(0.02, 0.002, 10)
    (pair,) = paired_differences({"better": better.tolist(), "worse": folds.tolist()})
    assert better.std() > 3 * pair.mean and pair.more_than_noise and pair.mean == pytest.approx(0.02, abs=0.002)


@pytest.mark.parametrize(("shift", "p", "certain"), [(0.0, 1.0, False), (0.1, 0.0, True)])
def test_the_same_difference_in_every_fold(shift, p, certain):
    values = [0.5, 0.6, 0.7]
    (pair,) = paired_differences({"a": [v + shift for v in values], "b": values})
    assert pair.p == p and pair.more_than_noise is certain


def test_one_fold_says_nothing_and_unequal_folds_are_refused():
    (pair,) = paired_differences({"a": [0.9], "b": [0.1]})
    assert (pair.p, pair.half_width, pair.more_than_noise) == (None, None, False)
    with pytest.raises(PccloraError, match="a value for each fold"):
        paired_differences({"a": [0.9], "b": [0.1, 0.2]})
