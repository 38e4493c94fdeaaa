"""Nearest neighbours against a naive twin and pytorch3d, and where the expanded distance fails."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcclora.errors import PccloraError
from pcclora.ops import knn, knn_points

BACKENDS = ("native", "torch")
KINDS = ("uniform", "duplicates", "collinear", "lattice", "offset", "same", "huge", "tiny")
DTYPES = (torch.float32, torch.float64)


def naive(query: np.ndarray, points: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    """One cloud, one query at a time, in the dtype of the cloud."""
    dists, idx = [], []
    for q in query:
        with np.errstate(over="ignore", under="ignore"):
            dx, dy, dz = (q - points).T
            row = (dx * dx + dy * dy) + dz * dz
        idx.append(np.argsort(row, kind="stable")[:K])
        dists.append(row[idx[-1]])
    return np.stack(dists), np.stack(idx)


def check(query, points, K):
    dists, idx, nn = knn_points(query, points, K=K, return_nn=True)
    expected = [naive(q, p, K) for q, p in zip(query.numpy(), points.numpy(), strict=True)]
    np.testing.assert_array_equal(idx.numpy(), np.stack([e[1] for e in expected]))
    np.testing.assert_array_equal(dists.numpy(), np.stack([e[0] for e in expected]))
    assert idx.dtype == torch.int64 and dists.dtype == points.dtype
    assert torch.equal(nn, torch.stack([p[i] for p, i in zip(points, idx, strict=True)]))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("G", "N", "K"), [(1, 1, 1), (3, 2, 2), (5, 63, 63), (4, 64, 32), (70, 65, 8), (9, 600, 200), (7, 1500, 32)]
)
def test_equals_the_twin(backend, cloud, name, dtype, G, N, K):
    with backend(name):
        check(cloud("uniform", 3, G, 1, dtype), cloud("uniform", 3, N, 2, dtype), K)


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(DTYPES),
    size=st.integers(1, 300).flatmap(lambda N: st.tuples(st.just(N), st.integers(1, N), st.integers(1, N))),
    seed=st.integers(0, 1000),
)
def test_both_implementations_equal_the_twin(backend, cloud, kind, dtype, size, seed):
    N, G, K = size
    points = cloud(kind, 2, N, seed, dtype)
    for name in BACKENDS:
        with backend(name):
            check(points[:, :G], points, K)


@pytest.mark.parametrize("name", BACKENDS)
def test_points_in_rows_as_long_as_the_classes_of_the_kernel(backend, name):
    # All points of a column fall into one class: the bound lets many through, the result must be the same.
    grid = torch.stack(torch.meshgrid(torch.arange(40.0), torch.arange(64.0), indexing="ij"), 2).reshape(1, -1, 2)
    points = torch.cat([grid, torch.zeros(1, grid.shape[1], 1)], 2)
    with backend(name):
        check(points[:, 1250:1260], points, 32)


@pytest.mark.parametrize("name", BACKENDS)
def test_far_from_the_origin_where_the_expanded_form_fails(backend, cloud, name):
    points = cloud("offset", 1, 500)
    near = points.double() - 1000
    expected = (near.unsqueeze(2) - near.unsqueeze(1)).square().sum(3).topk(8, largest=False).values[..., -1]
    with backend(name):
        exact = knn_points(points, points, K=8).dists[..., -1].double()
    norm = points.square().sum(2)
    expanded = norm.unsqueeze(2) + norm.unsqueeze(1) - 2 * points @ points.mT
    expanded = expanded.topk(8, largest=False).values[..., -1].double()
    assert (exact - expected).abs().max() < 1e-6
    assert (expanded - expected).abs().max() > 0.1


@pytest.mark.parametrize("held", [1, 100, 5000])
def test_the_torch_code_in_pieces(backend, cloud, monkeypatch, held):
    monkeypatch.setattr(knn, "HELD_CPU", held)
    with backend("torch"):
        check(cloud("uniform", 3, 9), cloud("lattice", 3, 80), 5)


@pytest.mark.parametrize("name", BACKENDS)
def test_any_memory_layout_and_nothing_to_do(backend, cloud, name):
    query, points = cloud("uniform", 4, 10, 1), cloud("uniform", 4, 50, 2)
    with backend(name):
        expected = knn_points(query, points, K=7)
        again = knn_points(query.mT.contiguous().mT, points.mT.contiguous().mT, K=7)
        assert torch.equal(again.idx, expected.idx) and torch.equal(again.dists, expected.dists)
        assert torch.equal(knn_points(query[::2], points[::2], K=7).idx, expected.idx[::2])
        assert knn_points(query[:0], points[:0], K=7, return_nn=True).nn.shape == (0, 10, 7, 3)


@pytest.mark.parametrize("name", BACKENDS)
def test_distances_are_differentiable_and_the_same_numbers(backend, cloud, name):
    query, points = cloud("uniform", 2, 4, 1, torch.float64), cloud("uniform", 2, 9, 2, torch.float64)
    with backend(name):
        plain = knn_points(query, points, K=3)
        query.requires_grad_(), points.requires_grad_()
        assert torch.equal(knn_points(query, points, K=3).dists, plain.dists)
        assert torch.autograd.gradcheck(lambda q, p: knn_points(q, p, K=3, return_nn=True)[::2], (query, points))
        with torch.no_grad():
            assert not knn_points(query, points, K=3).dists.requires_grad


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("place", [0, 1])
def test_a_coordinate_that_is_not_finite_is_refused(backend, cloud, name, place):
    pair = [cloud("uniform", 2, 30), cloud("uniform", 2, 30)]
    pair[place][1, 3, 0] = float("nan")
    with backend(name), pytest.raises(PccloraError, match=r"a coordinate is NaN or infinite"):
        knn_points(*pair, K=3)


@pytest.mark.parametrize(
    ("query", "points", "K", "message"),
    [
        (torch.zeros(1, 2, 3), torch.zeros(1, 4, 3), 5, r"K=5: a cloud of N=4"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 4, 3), 0, r"K=0"),
        (torch.zeros(2, 2, 3), torch.zeros(1, 4, 3), 1, r"batch size 2 and 1"),
        (torch.zeros(1, 2, 3).double(), torch.zeros(1, 4, 3), 1, r"dtype torch.float64 and torch.float32"),
        (torch.zeros(1, 2, 3, device="meta"), torch.zeros(1, 4, 3), 1, r"device meta and cpu"),
        (torch.zeros(2, 3), torch.zeros(1, 4, 3), 1, r"query: shape \(2, 3\)"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 4, 3).long(), 1, r"points: torch.int64"),
    ],
)
def test_bad_input_is_named(query, points, K, message):
    with pytest.raises(PccloraError, match=message):
        knn_points(query, points, K=K)


@pytest.mark.parametrize("kind", ["uniform", "duplicates", "lattice"])
def test_agrees_with_pytorch3d(cloud, kind):
    peer = pytest.importorskip("pytorch3d.ops", reason="pytorch3d is not installed")
    query, points = cloud(kind, 4, 60, 1), cloud(kind, 4, 700, 2)
    dists, idx, _ = peer.knn_points(query, points, K=20)
    ours = knn_points(query, points, K=20)
    assert torch.equal(ours.dists, dists)
    assert torch.equal(ours.idx.sort().values, idx.sort().values)  # there, equal distances stand in any order
