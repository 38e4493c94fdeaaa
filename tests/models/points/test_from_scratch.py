"""PointNet and DGCNN: published sizes, what they must not depend on, an edge convolution written out."""

import pytest
import torch
import torch.nn.functional as F

import pcclora
from pcclora.errors import PccloraError
from pcclora.models.points.dgcnn import EdgeConv

SMALL = {
    "pointnet": {"widths": (8, 16), "head_widths": (8,)},
    "dgcnn": {"widths": (8, 16), "head_widths": (8,), "embedding": 16, "neighbours": 4},
}


def small(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return pcclora.create_model(name, num_classes=5, **SMALL[name])


@pytest.mark.parametrize(("name", "millions"), [("pointnet", 0.8), ("dgcnn", 1.8)])
def test_sizes_are_the_published_ones(name, millions):
    model = pcclora.create_model(name, num_classes=40)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name):
    model = small(name)
    F.cross_entropy(model(torch.randn(6, 64, 3)), torch.arange(6) % 5).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", SMALL)
def test_order_and_company_of_a_cloud_change_nothing(name):
    model, points = small(name).eval(), torch.randn(3, 64, 3)
    with torch.no_grad():
        expected = model(points)
        torch.testing.assert_close(model(points[1:2]), expected[1:2], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model(points[:, torch.randperm(64)]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("train", [True, False])
def test_an_edge_convolution_is_the_layer_on_every_edge(train):
    torch.manual_seed(0)
    layer, x = EdgeConv(5, 7, neighbours=3).train(train), torch.randn(2, 9, 5)
    with torch.no_grad():
        layer.norm.weight.uniform_(-1, 1)
    edges = torch.empty(2, 9, 3, 10)
    for b in range(2):
        for i in range(9):
            near = (x[b] - x[b, i]).norm(dim=1).argsort()[:3]
            edges[b, i] = torch.cat([x[b, near] - x[b, i], x[b, i].expand(3, -1)], dim=1)
    flat = layer.linear(edges).flatten(0, 2)
    mean, var = (flat.mean(0), flat.var(0, unbiased=False)) if train else (torch.zeros(7), torch.ones(7))
    normed = (flat - mean) / (var + 1e-5).sqrt() * layer.norm.weight + layer.norm.bias
    expected = F.leaky_relu(normed, 0.2).view(2, 9, 3, 7).amax(dim=2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_own_weights_load_and_others_are_refused(name, tmp_path):
    model = small(name)
    torch.save(model.state_dict(), tmp_path / "own.pth")
    report = pcclora.load_checkpoint(small(name), tmp_path / "own.pth")
    assert len(report.loaded) == len(model.state_dict()) and report.family.lower() == name
    other = pcclora.create_model("point_mae_tiny", num_classes=5)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with pytest.raises(PccloraError, match="not a whole"):
        pcclora.load_checkpoint(model, tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("pointnet", {"widths": ()}, "widths is"),
        ("pointnet", {"head_dropout": 1.0}, "head_dropout is 1.0"),
        ("dgcnn", {"neighbours": 0}, "neighbours is"),
        ("dgcnn", {"embedding": 0}, "embedding is"),
    ],
)
def test_a_wrong_size_is_named(name, wrong, message):
    with pytest.raises(PccloraError, match=message):
        pcclora.create_model(name, **wrong)


def test_clouds_too_small_or_with_more_channels_are_refused():
    with pytest.raises(PccloraError, match="4 neighbours are needed"):
        small("dgcnn")(torch.randn(2, 3, 3))
    with pytest.raises(PccloraError, match=r"\(B, N, 3\) is expected"):
        small("pointnet")(torch.randn(2, 30, 6))
