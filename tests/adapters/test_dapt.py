"""DAPT beside the table: its starts, what stochastic depth drops, what it refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pcclora
from pcclora import PccloraError
from pcclora.adapters import DAPTConfig
from tests.adapters.backbones import point_mae_tiny, point_transformer


@pytest.mark.parametrize("init", ["open", "paper"])
def test_a_branch_gives_nothing_at_the_start_and_trains(init: Any) -> None:
    torch.manual_seed(0)
    model, x = point_mae_tiny()
    adapter = pcclora.attach(model, DAPTConfig(r=4, init=init))
    w = torch.randn(2, 9, 24, requires_grad=True)
    branch = adapter.branches[0]
    assert not branch(w).any()
    branch(w).sum().backward()
    assert branch.up.weight.grad.any() and branch.up.bias.grad.any()
    open_gates = branch.gate(branch.norm(w)) > 0
    assert open_gates.all() if init == "open" else 0 < open_gates.sum() < open_gates.numel()
    noise = torch.cat([scale.detach() - 1 for scale in adapter.scales.values()])
    assert 0.018 < noise.std() < 0.022 and noise.mean().abs() < 0.002
    assert model.train()(x).requires_grad


def test_stochastic_depth_drops_the_mlp_and_the_branch_of_a_cloud_together() -> None:
    torch.manual_seed(1)
    model, x = point_mae_tiny()
    adapter = pcclora.attach(model, DAPTConfig(r=4, dropout=0.0))
    nn.init.normal_(adapter.branches[1].up.weight)
    block, seen = model.blocks[1], {}
    block.drop_path.rate = 0.5
    block.mlp.register_forward_hook(lambda _, inputs, output: seen.update(w=inputs[0], both=output))
    block.norm2.register_forward_pre_hook(lambda _, inputs: seen.update(u=inputs[0]))
    block.register_forward_hook(lambda _, __, output: seen.update(y=torch.cat([output[:, :1], output[:, 2:]], dim=1)))
    model.train()
    factors = set()
    for _ in range(8):
        model(x)
        branch = adapter.branches[1](seen["w"])
        assert branch.abs().mean() > 0.01
        target = adapter.scaled("blocks.1.mlp.fc2", _plain(model.blocks[1].mlp, adapter, seen["w"])) + branch
        torch.testing.assert_close(seen["both"], target)
        for cloud, u, y in zip(seen["both"], seen["u"], seen["y"], strict=True):
            factor = 0.0 if torch.equal(y, u) else 2.0
            torch.testing.assert_close(y, u + factor * cloud)
            factors.add(factor)
    assert factors == {0.0, 2.0}


def _plain(mlp: nn.Module, adapter: Any, w: Tensor) -> Tensor:
    """What fc2 gives before it is scaled, of a block's MLP with a scaled fc1."""
    hidden = adapter.scaled("blocks.1.mlp.fc1", nn.functional.linear(w, mlp.fc1.weight, mlp.fc1.bias))
    return nn.functional.linear(nn.functional.gelu(hidden), mlp.fc2.weight, mlp.fc2.bias)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "r is 0, at least 1"),
        ({"dropout": 1.0}, r"dropout is 1.0, in \[0, 1\)"),
        ({"init": "zero"}, "init is 'zero'; it is open or paper"),
    ],
)
def test_values_without_a_meaning_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        DAPTConfig(**settings)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("point_mae_tiny", {"r": 25}, "r is 25, and a token is 24 wide; choose adapter.r of 24 or less"),
        (
            "point_mae_tiny",
            {"modules_to_save": ("cls_token",)},
            "'cls_head_finetune.0' reads other features, so it must train; name 'cls_head_finetune' in",
        ),
        ("recon", {}, "ReCon has no place 'attention_norm', where this method acts"),
    ],
)
def test_a_model_that_it_does_not_fit_is_refused(name: str, settings: Any, message: str) -> None:
    model, _ = point_transformer(name)
    with pytest.raises(PccloraError, match=message):
        pcclora.attach(model, DAPTConfig(**{"r": 4, **settings}))
    assert not hasattr(model, "adapters")


def test_a_head_without_a_linear_map_cannot_read_the_prompts() -> None:
    model, _ = point_mae_tiny()
    model.cls_head_finetune = nn.Sequential(nn.BatchNorm1d(48))
    with pytest.raises(PccloraError, match="'cls_head_finetune' has no linear map that could read more features"):
        pcclora.attach(model, DAPTConfig(r=4))
