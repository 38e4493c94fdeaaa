"""Farthest point sampling against a naive twin, pytorch3d and the rule of pointnet2_ops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcclora.errors import PccloraError
from pcclora.ops import sample_farthest_points

BACKENDS = ("native", "torch")
KINDS = ("uniform", "duplicates", "collinear", "lattice", "offset", "same", "huge", "tiny")
DTYPES = (torch.float32, torch.float64)


def naive(points: np.ndarray, K: int, start: int = 0, skip: bool = False) -> list[int]:
    """One cloud (N, 3), one step at a time, in the dtype of the cloud."""
    nearest = np.full(len(points), np.finfo(points.dtype).max, points.dtype)
    if skip:
        x, y, z = points.T
        with np.errstate(over="ignore", under="ignore"):
            norm = (x * x + y * y) + z * z
        nearest[norm.astype(np.float64) <= 1e-3] = -1
    chosen = [start]
    while len(chosen) < K:
        with np.errstate(over="ignore", under="ignore"):
            dx, dy, dz = (points - points[chosen[-1]]).T
            nearest = np.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
        chosen.append(int(np.argmax(nearest)))  # numpy promises the first
    return chosen


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("N", "K"), [(1, 1), (2, 2), (17, 5), (64, 64), (256, 40), (257, 40), (1000, 33)])
def test_equals_the_twin(backend, cloud, name, dtype, N, K):
    points = cloud("uniform", 3, N, dtype=dtype)
    with backend(name):
        chosen, idx = sample_farthest_points(points, K=K)
    assert idx.dtype == torch.int64 and idx.tolist() == [naive(p, K) for p in points.numpy()]
    assert torch.equal(chosen, torch.stack([p[i] for p, i in zip(points, idx, strict=True)]))


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(DTYPES),
    size=st.integers(1, 300).flatmap(lambda N: st.tuples(st.just(N), st.integers(1, N), st.integers(0, N - 1))),
    skip=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_both_implementations_equal_the_twin(backend, cloud, kind, dtype, size, skip, seed):
    N, K, start = size
    points = cloud(kind, 2, N, seed, dtype)
    expected = [naive(p, K, start, skip) for p in points.numpy()]
    for name in BACKENDS:
        with backend(name):
            _, idx = sample_farthest_points(points, K=K, start=start, skip_near_origin=skip)
        assert idx.tolist() == expected, name


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_points_near_the_origin_are_skipped_as_pointnet2_does(backend, name, dtype):
    inside, outside = 0.0316, 0.0317  # radii on both sides of sqrt(1e-3)
    points = torch.tensor([[[1, 0, 0], [inside, 0, 0], [0, outside, 0], [0, 0, 0], [0, 1, 0]]], dtype=dtype)
    with backend(name):
        assert sample_farthest_points(points, K=4, skip_near_origin=True)[1].tolist() == [[0, 4, 2, 0]]
        assert sample_farthest_points(points, K=4)[1].tolist() == [[0, 4, 3, 2]]
        near = sample_farthest_points(points[:, 3:4].expand(1, 5, 3), K=3, start=2, skip_near_origin=True)
    assert near[1].tolist() == [[2, 0, 0]]  # nothing to choose from: the original falls back to index 0


@pytest.mark.parametrize("name", BACKENDS)
def test_the_border_of_the_skip_rule_is_compared_in_double(backend, name):
    above = np.float32(1e-3)  # lies above 1e-3, so the original does not skip it
    x = np.float32(0.0316)
    y = np.sqrt(above - x * x)
    assert x * x + y * y == above
    points = torch.tensor([[[5.0, 0, 0], [float(x), float(y), 0], [0, 0, 0]]])
    with backend(name):
        assert sample_farthest_points(points, K=2, skip_near_origin=True)[1].tolist() == [[0, 1]]


@pytest.mark.parametrize("name", BACKENDS)
def test_any_memory_layout_and_the_empty_batch(backend, cloud, name):
    points = cloud("uniform", 4, 50)
    with backend(name):
        expected = sample_farthest_points(points, K=7)[1]
        assert torch.equal(sample_farthest_points(points.mT.contiguous().mT, K=7)[1], expected)
        assert torch.equal(sample_farthest_points(points[::2], K=7)[1], expected[::2])
        assert sample_farthest_points(points[:0], K=7)[0].shape == (0, 7, 3)


def test_the_gradient_reaches_the_chosen_points_only(cloud):
    points = cloud("uniform", 2, 20).requires_grad_()
    chosen, idx = sample_farthest_points(points, K=4)
    chosen.sum().backward()
    assert torch.equal(points.grad, torch.zeros(2, 20, 1).scatter(1, idx.unsqueeze(2), 1).expand(2, 20, 3))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_coordinate_that_is_not_finite_is_refused(backend, cloud, name, value):
    points = cloud("uniform", 3, 30)
    points[1, 29, 2] = value
    with backend(name), pytest.raises(PccloraError, match=r"points: a coordinate is NaN or infinite"):
        sample_farthest_points(points, K=3)


@pytest.mark.parametrize(
    ("points", "K", "start", "message"),
    [
        (torch.zeros(1, 4, 3), 5, 0, r"K=5: a cloud of N=4 points gives 1 to 4"),
        (torch.zeros(1, 4, 3), 0, 0, r"K=0"),
        (torch.zeros(1, 4, 3), 2, 4, r"start=4: .*0\.\.\.3"),
        (torch.zeros(4, 3), 2, 0, r"points: shape \(4, 3\); \(B, N, 3\)"),
        (torch.zeros(1, 4, 2), 2, 0, r"points: shape \(1, 4, 2\)"),
        (torch.zeros(1, 0, 3), 1, 0, r"N >= 1"),
        (torch.zeros(1, 4, 3).half(), 2, 0, r"torch.float16; float32 or float64"),
    ],
)
def test_bad_input_is_named(points, K, start, message):
    with pytest.raises(PccloraError, match=message):
        sample_farthest_points(points, K=K, start=start)


@pytest.mark.parametrize("kind", ["uniform", "duplicates", "lattice"])
def test_agrees_with_pytorch3d(cloud, kind):
    peer = pytest.importorskip("pytorch3d.ops", reason="pytorch3d is not installed")
    points = cloud(kind, 4, 700)
    chosen, idx = peer.sample_farthest_points(points, K=90)
    ours = sample_farthest_points(points, K=90)
    assert torch.equal(ours[0], chosen) and torch.equal(ours[1], idx)
