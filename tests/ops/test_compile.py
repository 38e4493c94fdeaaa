"""The ops under torch.compile: one node each, whatever implementation runs."""

import pytest
import torch

from pcclora import ops


@pytest.mark.parametrize("name", ["native", "torch"])
def test_one_graph_with_the_same_numbers(backend, cloud, name):
    def group(points):
        centres, idx = ops.sample_farthest_points(points * 2, K=6)
        return ops.knn_points(centres, points * 2, K=5, return_nn=True).nn - centres.unsqueeze(2), idx

    points = cloud("uniform", 2, 40)
    with backend(name):
        compiled = torch.compile(group, backend="aot_eager", fullgraph=True)(points)
        assert all(torch.equal(a, b) for a, b in zip(compiled, group(points), strict=True))


def test_the_operators_keep_the_contract_of_custom_operators(cloud):
    points = cloud("uniform", 2, 20)
    torch.library.opcheck(torch.ops.pcclora.sample_farthest_points, (points, 3, 0, False))
    torch.library.opcheck(torch.ops.pcclora.knn_points, (points[:, :4].contiguous(), points, 3))
