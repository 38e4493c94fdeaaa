"""The mini-PointNet with its products split, joined and folded is the published one: same numbers, fewer operations."""

import copy

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pcclora.errors import PccloraError
from pcclora.models.points.tokenizer import Grouping, MiniPointNet


def naive(encoder: MiniPointNet, neighborhoods: Tensor) -> Tensor:
    """The published form: 1x1 convolutions over channels, the global feature repeated for every point."""
    B, G, K, _ = neighborhoods.shape
    local = encoder.first_conv(neighborhoods.flatten(0, 1).transpose(1, 2))
    pooled = local.max(dim=2, keepdim=True).values
    both = torch.cat([pooled.expand(-1, -1, K), local], dim=1)
    return encoder.second_conv(both).max(dim=2).values.view(B, G, -1)


@pytest.fixture
def encoder() -> MiniPointNet:
    torch.manual_seed(0)
    encoder = MiniPointNet((5, 7, 9), 11).double()
    for norm in (encoder.first_conv[1], encoder.second_conv[1]):  # as after training: nothing at its default
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    return encoder


@pytest.fixture
def neighborhoods() -> Tensor:
    x = torch.randn(2, 3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[0, 0, 1] = x[0, 0, 0]  # a duplicated point: the max has ties
    return x


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_equals_the_naive_form_in_value_gradient_and_statistics(mode, encoder, neighborhoods):
    twin = copy.deepcopy(encoder)
    results = []
    for module, form in ((encoder, MiniPointNet.forward), (twin, naive)):
        x = neighborhoods.clone().requires_grad_()
        out = form(module.train(mode == "train"), x)
        out.square().sum().backward()
        grad = x.grad
        grad[0, 0, 0] += grad[0, 0, 1]  # of equal points any may have the gradient: the last bit of a product decides
        grad[0, 0, 1] = 0
        results.append([out, grad, *(p.grad for p in module.parameters()), *module.buffers()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_frozen_equals_the_naive_form_and_records_no_graph(encoder, neighborhoods, monkeypatch):
    expected = naive(encoder.eval(), neighborhoods).detach()
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    whole = encoder(neighborhoods)
    monkeypatch.setattr("pcclora.models.points.tokenizer.CHUNK", 1)  # one group a chunk
    for out in (whole, encoder(neighborhoods)):
        assert not out.requires_grad
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)


def test_frozen_passes_gradients_to_the_points(encoder, neighborhoods):
    for parameter in encoder.eval().parameters():
        parameter.requires_grad_(False)
    neighborhoods.requires_grad_()
    encoder(neighborhoods).sum().backward()
    assert neighborhoods.grad.abs().sum() > 0


def test_frozen_in_train_mode_still_uses_batch_statistics(encoder, neighborhoods):
    """Peers leave frozen norms in train mode; whoever wants that gets what they compute."""
    for parameter in encoder.train().parameters():
        parameter.requires_grad_(False)
    torch.testing.assert_close(encoder(neighborhoods), naive(encoder, neighborhoods), rtol=1e-12, atol=1e-12)


def test_needs_fewer_operations():
    encoder, x = MiniPointNet((128, 256, 512), 384).eval(), torch.randn(1, 64, 32, 3)
    flops = {}
    for form in (naive, MiniPointNet.forward):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            form(encoder, x)
        flops[form] = counter.get_total_flops()
    points, groups = 64 * 32, 64
    assert flops[naive] == 2 * points * (3 * 128 + 128 * 256 + 512 * 512 + 512 * 384)
    per_point = 3 * 128 + 128 * 256 + 128 * 512 + 512 * 384  # the local half, joined with the layer before it
    joining = 256 * 128 * 512  # once a call, whatever the batch
    assert flops[MiniPointNet.forward] == 2 * (points * per_point + groups * 256 * 512 + joining)
    assert flops[MiniPointNet.forward] < 0.63 * flops[naive]


def test_groups_are_neighbours_around_their_centres(points):
    neighborhoods, centers = Grouping(5, 4)(points)
    assert neighborhoods.shape == (4, 5, 4, 3) and centers.shape == (4, 5, 3)
    assert torch.equal(centers[:, 0], points[:, 0])
    assert torch.equal(neighborhoods[:, :, 0], torch.zeros(4, 5, 3))  # a centre is its own nearest neighbour
    distances = torch.cdist(centers, points, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(neighborhoods.norm(dim=-1), distances.sort(dim=-1).values[..., :4])


@pytest.mark.parametrize("shape", [(40, 3), (2, 40, 6), (2, 3, 40)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(PccloraError, match=r"\(B, N, 3\) is expected"):
        Grouping(2, 2)(torch.zeros(shape))


def test_too_few_points_are_refused(points):
    with pytest.raises(PccloraError):
        Grouping(41, 2)(points)
