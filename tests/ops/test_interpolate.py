"""Three-neighbour interpolation against a naive twin, with its gradient."""

import numpy as np
import pytest
import torch

from pcclora.errors import PccloraError
from pcclora.ops import interpolate_nn, interpolate_three_nn


def naive(query: np.ndarray, points: np.ndarray, features: np.ndarray, K: int = 3, eps: float = 1e-8) -> np.ndarray:
    """One query of one cloud at a time."""
    out = np.zeros((*query.shape[:2], features.shape[2]))
    for b, n in np.ndindex(query.shape[:2]):
        square = ((query[b, n] - points[b]) ** 2).sum(1)
        nearest = np.argsort(square, kind="stable")[:K]
        weight = 1 / (square[nearest] + eps)
        out[b, n] = (weight / weight.sum()) @ features[b, nearest]
    return out


@pytest.mark.parametrize("name", ["native", "torch"])
@pytest.mark.parametrize("G", [1, 2, 3, 4, 50])
@pytest.mark.parametrize("kind", ["uniform", "duplicates", "same"])
def test_equals_the_twin(backend, cloud, name, G, kind):
    query, points = cloud("uniform", 2, 40, 1, torch.float64), cloud(kind, 2, G, 2, torch.float64)
    features = torch.randn(2, G, 5, dtype=torch.float64)
    with backend(name):
        ours = interpolate_three_nn(query, points, features)
    np.testing.assert_allclose(ours, naive(query.numpy(), points.numpy(), features.numpy()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("K", [1, 7, 60])
def test_equals_the_twin_for_any_number_of_neighbours(cloud, K):
    query, points = cloud("uniform", 2, 40, 1, torch.float64), cloud("uniform", 2, 50, 2, torch.float64)
    features = torch.randn(2, 50, 5, dtype=torch.float64)
    ours = interpolate_nn(query, points, features, K=K, eps=1e-3)
    expected = naive(query.numpy(), points.numpy(), features.numpy(), K, 1e-3)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_a_known_point_keeps_its_features(cloud):
    points, features = cloud("uniform", 1, 30), torch.randn(1, 30, 4)
    torch.testing.assert_close(interpolate_three_nn(points, points, features), features, rtol=1e-4, atol=1e-4)


def test_gradient(cloud):
    query, points = (cloud("uniform", 2, n, n, torch.float64).requires_grad_() for n in (4, 6))
    features = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(interpolate_three_nn, (query, points, features))


def test_features_of_other_points_are_refused(cloud):
    with pytest.raises(PccloraError, match=r"features \(1, 5, 2\), points \(1, 6, 3\)"):
        interpolate_three_nn(cloud("uniform", 1, 4), cloud("uniform", 1, 6), torch.zeros(1, 5, 2))
