import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.model_selection import StratifiedShuffleSplit

from pcclora.data import ProceduralConfig, ProceduralDataset, Subset, normalize_unit_sphere, stratified_split
from pcclora.errors import PccloraError

COORDINATES = hnp.arrays(np.float64, st.tuples(st.integers(2, 30), st.just(3)), elements=st.floats(-1e3, 1e3, width=32))


@given(COORDINATES, st.floats(-1e4, 1e4), st.floats(0.01, 100))
def test_normalized_cloud_fills_the_unit_sphere_and_ignores_offset_and_scale(points, offset, scale):
    out = normalize_unit_sphere(points)
    assert out.dtype == np.float32
    extent = np.ptp(points, axis=0).max()
    if not extent:
        assert not out.any()
        return
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1).max(), 1, rtol=1e-5)
    if extent > 1:
        np.testing.assert_allclose(normalize_unit_sphere(points * scale + offset), out, atol=1e-4)


@given(
    hnp.arrays(np.float64, 3, elements=st.floats(-1e300, 1e300)), st.integers(1, 9000), st.sampled_from(["f8", "f4"])
)
def test_equal_points_become_zeros_exactly(point, count, dtype):
    with np.errstate(over="ignore"):
        points = np.tile(point, (count, 1)).astype(dtype)
    if np.isfinite(points).all():
        assert not normalize_unit_sphere(points).any()


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e-30, 1e30, 1e160, 1e300])
def test_a_cloud_of_any_size_has_the_same_shape(size):
    shape = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
    np.testing.assert_allclose(normalize_unit_sphere(shape * size), normalize_unit_sphere(shape), rtol=1e-6)


def test_features_are_kept():
    points = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(normalize_unit_sphere(points)[:, 3:], points[:, 3:])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.floats(0.05, 0.95), st.integers(0, 10))
def test_stratified_split_is_a_partition_with_each_class_on_both_sides(labels, fraction, seed):
    labels = np.array(labels)
    first, second = stratified_split(labels, fraction, seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    for label in np.unique(labels):
        count, held = (labels == label).sum(), (labels[second] == label).sum()
        assert held == min(max(round(count * fraction), 1), count - 1)
        assert (labels[first] == label).any()


def test_stratified_split_has_the_class_counts_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [100, 50, 20])
    _, ours = stratified_split(labels, 0.2, 0)
    _, theirs = next(StratifiedShuffleSplit(1, test_size=0.2, random_state=0).split(labels, labels))
    np.testing.assert_array_equal(np.bincount(labels[ours]), np.bincount(labels[theirs]))


def test_stratified_split_depends_on_the_seed_alone():
    labels = np.repeat([0, 1], 50)
    assert stratified_split(labels, 0.3, 1)[1].tolist() == stratified_split(labels, 0.3, 1)[1].tolist()
    assert stratified_split(labels, 0.3, 1)[1].tolist() != stratified_split(labels, 0.3, 2)[1].tolist()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0])
def test_stratified_split_refuses_a_share_that_is_none(fraction):
    with pytest.raises(PccloraError, match="between 0 and 1"):
        stratified_split(np.zeros(4, np.int64), fraction, 0)


def test_subset_keeps_the_contract():
    whole = ProceduralDataset(ProceduralConfig(train=20, points=8), split="train")
    part = Subset(whole, [3, 19, 0], split="validation")
    assert (len(part), part.split, part.name, part.class_names) == (3, "validation", "procedural", whole.class_names)
    np.testing.assert_array_equal(part.labels, whole.labels[[3, 19, 0]])
    np.testing.assert_array_equal(part[1].points, whole[19].points)
    with pytest.raises(PccloraError, match=r"0\.\.19"):
        Subset(whole, [20])
