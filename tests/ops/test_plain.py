"""What a model is exported with chooses the same points as the ops do, ties and all, without a node of ours."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pcclora.ops import argsort, interpolate_three_nn, knn_points, sample_farthest_points

KINDS = ("uniform", "duplicates", "collinear", "lattice", "offset", "same", "tiny")
SIZES = {"traced": (2, 40), "others": (3, 61)}


class Geometry(nn.Module):
    """All that a backbone asks of the ops."""

    def forward(self, points: Tensor) -> tuple[Tensor, ...]:
        centers, idx = sample_farthest_points(points, K=9)
        _, skipped = sample_farthest_points(points, K=9, start=3, skip_near_origin=True)
        dists, near, _ = knn_points(centers, points, K=5)
        order = argsort((points[..., 0] * 4).long(), descending=True)
        return (
            idx,
            skipped,
            near,
            dists,
            order,
            interpolate_three_nn(points, centers, torch.cat([centers, -centers], dim=2)),
        )


def batch(size: str, kind: str, cloud) -> Tensor:
    return cloud(kind, *SIZES[size], seed=len(kind))


def dynamic():
    return ({0: torch.export.Dim("batch"), 1: torch.export.Dim("points", min=9)},)


def assert_as_eager(found: tuple[Tensor, ...], points: Tensor) -> None:
    expected = Geometry()(points)
    for own, theirs in zip(found[:5], expected[:5], strict=True):
        assert torch.equal(own, theirs)
    torch.testing.assert_close(found[5], expected[5], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def program(cloud) -> torch.export.ExportedProgram:
    points = cloud("uniform", *SIZES["traced"])
    return torch.export.export(Geometry(), (points,), dynamic_shapes=dynamic(), strict=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_geometry_is_the_same_on_clouds_of_another_size(program, cloud, kind):
    points = batch("others", kind, cloud)
    assert_as_eager(program.module()(points), points)


def test_it_has_no_operator_of_ours_and_its_size_does_not_depend_on_how_many_points_are_sampled(program):
    names = [str(node.target) for node in program.graph.nodes]
    assert not [name for name in names if "pcclora" in name]
    assert names.count("scan") == 2 and len(names) < 150


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_chooses_the_same_points(onnx_geometry, cloud, kind):
    points = batch("others", kind, cloud)
    found = onnx_geometry.run(None, {"points": points.numpy()})
    assert not any(np.isnan(own).any() for own in found)
    assert_as_eager(tuple(map(torch.from_numpy, found)), points)


@pytest.fixture(scope="module")
def onnx_geometry(cloud, tmp_path_factory):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install pcclora[export]")
    from pcclora.runs.export.network import Network
    from pcclora.runs.export.targets import TARGETS

    file = tmp_path_factory.mktemp("geometry") / "model.onnx"
    network = Network(Geometry(), {"points": {0: "batch", 1: "points"}}, 9, True)
    TARGETS["onnx"].write(network, (cloud("uniform", *SIZES["traced"]),), file)
    return onnxruntime.InferenceSession(file)
