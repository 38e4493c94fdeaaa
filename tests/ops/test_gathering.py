"""Rows by index, for indices of any rank."""

import numpy as np
import pytest
import torch

from pcclora.errors import PccloraError
from pcclora.ops import argsort, gather


@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 4, 3), (2, 0), (2, 2, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_equals_the_twin(shape, dtype):
    points = torch.arange(2 * 7 * 4).reshape(2, 7, 4).to(dtype)
    idx = torch.randint(0, 7, shape)
    rows = gather(points, idx)
    assert rows.shape == (*shape, 4) and rows.dtype == dtype
    for place in torch.cartesian_prod(*map(torch.arange, shape)).reshape(-1, len(shape)).tolist():
        assert torch.equal(rows[tuple(place)], points[place[0], idx[tuple(place)]])


def test_gradient_counts_how_often_a_row_is_taken():
    points = torch.randn(1, 3, 2, requires_grad=True)
    gather(points, torch.tensor([[0, 2, 2]])).sum().backward()
    assert points.grad.tolist() == [[[1, 1], [0, 0], [2, 2]]]


@pytest.mark.parametrize("idx", [7, -1])
def test_an_index_outside_the_cloud_is_an_error(idx):
    with pytest.raises((RuntimeError, IndexError)):
        gather(torch.zeros(2, 7, 3), torch.tensor([[0], [idx]]))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(PccloraError, match=r"points \(2, 7, 3\), idx \(3, 5\)"):
        gather(torch.zeros(2, 7, 3), torch.zeros(3, 5, dtype=torch.int64))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_of_equal_values_the_lowest_index_is_first(dtype, descending):
    values = torch.randint(-3, 4, (5, 200), generator=torch.Generator().manual_seed(3)).to(dtype)
    signed = -values if descending else values
    assert argsort(values, descending=descending).tolist() == np.argsort(signed.numpy(), 1, kind="stable").tolist()
