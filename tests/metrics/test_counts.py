"""Counts against hand-made formulas, with nothing disturbed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pcclora.metrics import MacCount, ParameterCount, count_macs, count_parameters
from pcclora.models import create_model


def test_parameters():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False))
    model[0].requires_grad_(False)
    assert count_parameters(model) == ParameterCount(total=24, trainable=8, share=8 / 24)
    assert count_parameters(nn.ReLU()) == ParameterCount(0, 0, 0.0)


def test_shared_parameters_count_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert count_parameters(model).total == 9 + 3 + 3


def test_macs_of_layers():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    macs = 5 * (3 * 4 + 4 * 2)
    assert count_macs(model, torch.randn(7, 5, 3)) == MacCount(macs, macs, {"trunk": macs})


@pytest.mark.parametrize("named", [False, True])
def test_the_products_inside_attention(named):
    class Attention(nn.Module):
        def forward(self, x):
            k = x[:, :4]
            return (
                F.scaled_dot_product_attention(query=x, key=k, value=k)
                if named
                else (F.scaled_dot_product_attention(x, k, k[..., :2]))
            )

    value = 3 if named else 2
    count = count_macs(Attention(), torch.randn(2, 5, 3))
    assert (count.total, count.literature) == (5 * 4 * 3 + 5 * 4 * value, 0)


@pytest.mark.parametrize(("points", "groups", "published"), [(1024, 64, 2.391e9), (2048, 128, 4.761e9)])
def test_point_mae_counts_both_ways(points, groups, published):
    model = create_model("point_mae", num_groups=groups)
    count = count_macs(model, torch.rand(1, points, 3))
    tokens, blocks = groups + 1, 12
    naive_tokenizer = groups * 32 * (3 * 128 + 128 * 256 + 512 * 512 + 512 * 384)
    assert count.literature == pytest.approx(published, rel=1e-3)
    assert count.parts["tokenizer"] < 0.65 * naive_tokenizer
    attention = blocks * 2 * tokens**2 * 384
    assert count.total - count.literature == attention + count.parts["tokenizer"] - naive_tokenizer
    assert count.parts["head"] == 768 * 256 + 256 * 256 + 256 * 40
    trunk = groups * (3 * 128 + 128 * 384) + blocks * tokens * 12 * 384**2 + blocks * 2 * tokens**2 * 384
    assert count.parts["trunk"] == trunk
    assert sum(count.parts.values()) == count.total


def test_nothing_is_disturbed():
    torch.manual_seed(0)
    model = create_model("point_mae_tiny", task="pretrain", depth=1, decoder_depth=1)
    model.MAE_encoder.encoder.eval()  # as an adapter leaves it
    modes = {name: module.training for name, module in model.named_modules()}
    state = {key: value.clone() for key, value in model.state_dict().items()}
    points, random = torch.rand(2, 64, 3), torch.get_rng_state()
    first, second = count_macs(model, points), count_macs(model, points)
    assert first == second and first.total > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_come_back_after_an_error():
    model = create_model("point_mae_tiny", depth=1)
    with pytest.raises(ValueError, match="expected"):
        count_macs(model, torch.rand(2, 64, 4))
    assert model.training and model.blocks.training
