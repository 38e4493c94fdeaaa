"""The Chamfer distance against a naive twin, with its gradient."""

import numpy as np
import pytest
import torch

from pcclora.ops import chamfer_distance


def naive(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over all clouds at once, both directions, in float64."""
    square = ((x[:, :, None].astype(np.float64) - y[:, None]) ** 2).sum(3)
    return square.min(2).mean() + square.min(1).mean()


@pytest.mark.parametrize("name", ["native", "torch"])
@pytest.mark.parametrize(("B", "N", "M"), [(1, 1, 1), (2, 1, 7), (3, 32, 32), (2, 100, 65)])
def test_equals_the_twin(backend, cloud, name, B, N, M):
    x, y = cloud("uniform", B, N, 1), cloud("duplicates", B, M, 2)
    with backend(name):
        assert chamfer_distance(x, y).item() == pytest.approx(naive(x.numpy(), y.numpy()), rel=1e-6)
        assert chamfer_distance(x, x).item() == 0


@pytest.mark.parametrize("name", ["native", "torch"])
def test_gradient(backend, cloud, name):
    x, y = (cloud("uniform", 2, n, n, torch.float64).requires_grad_() for n in (6, 5))
    with backend(name):
        assert torch.autograd.gradcheck(chamfer_distance, (x, y))
        chamfer_distance(x, y).backward()
    square = (x.detach().unsqueeze(2) - y.detach().unsqueeze(1)).square().sum(3)
    there, back = square.argmin(2), square.argmin(1)  # d/dx by hand: own nearest, and those whose nearest it is
    expected = torch.zeros_like(x)
    for b in range(2):
        for i, j in enumerate(there[b]):
            expected[b, i] += 2 * (x[b, i] - y[b, j]).detach() / 12
        for j, i in enumerate(back[b]):
            expected[b, i] += 2 * (x[b, i] - y[b, j]).detach() / 10
    torch.testing.assert_close(x.grad, expected)
