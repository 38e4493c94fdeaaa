"""FacT against its definition written out, and against CLoRA with one basis."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pcclora
from pcclora import CLoRAConfig, PccloraError
from pcclora.adapters import FacTTKConfig, FacTTTConfig
from pcclora.adapters.methods.fact import FacT
from tests.adapters.backbones import DIM, fused_vit

both = pytest.mark.parametrize("kind", [FacTTTConfig, FacTTKConfig])
ATTENTION = ("blocks.*.attn.qkv[q,k,v]", "blocks.*.attn.proj")


def shaken(config: Any) -> tuple[nn.Module, Any, Tensor]:
    """A ViT in float64 with an adapter whose tensors are all random, and an input."""
    model, x = fused_vit()
    model, x = model.double(), x.double()
    adapter = pcclora.attach(model, config)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    return model, adapter, x


def naive(adapter: FacT, module: str, target: int) -> Tensor:
    """One target's update (d_in, d_out), chunk by chunk of the whole width."""
    (share,) = (share for share in adapter.shares[module])
    S = adapter.cores(share)[target]
    rows = [torch.cat([adapter.U @ S[i, o] @ adapter.V for o in range(S.shape[1])], dim=1) for i in range(S.shape[0])]
    return adapter.config.scale * torch.cat(rows)


@both
@pytest.mark.parametrize("module", ["blocks.0.attn.qkv", "blocks.1.attn.proj", "blocks.0.mlp.fc1", "blocks.1.mlp.fc2"])
def test_the_update_is_u_s_v_in_each_chunk(kind: Any, module: str) -> None:
    model, adapter, _ = shaken(kind(r=3, scale=0.5))
    linear = model.get_submodule(module)
    x = torch.randn(5, linear.in_features, dtype=torch.float64)
    count = 3 if module.endswith("qkv") else 1
    expected = torch.cat([naive(adapter, module, i) for i in range(count)], dim=1)
    torch.testing.assert_close(linear(x), x @ (linear.weight.T + expected) + linear.bias, rtol=1e-12, atol=1e-12)
    A, B = adapter.lora_form(module, linear.weight)
    scale = adapter.lora_alpha(len(A), module) / len(A)
    torch.testing.assert_close(scale * A.T @ B.T, expected, rtol=1e-12, atol=1e-12)


def test_tt_on_attention_is_clora_with_one_basis() -> None:
    model, adapter, x = shaken(FacTTTConfig(r=3, scale=0.7, target_modules=ATTENTION))
    other, _ = fused_vit()
    other.double()
    clora = pcclora.attach(other, CLoRAConfig(r=3, bases=1, scale=0.7, target_modules=ATTENTION))
    own, group = clora.groups["16x16"], adapter.groups["16x16"]
    with torch.no_grad():
        (
            own.D.copy_(adapter.U[None]),
            own.U.copy_(adapter.V[None]),
            own.Q.copy_(group.own.flatten(1, 3).unflatten(1, (1, 3))),
        )
    assert sum(p.numel() for p in adapter.parameters()) == sum(p.numel() for p in clora.parameters())
    torch.testing.assert_close(model(x), other(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [FacTTKConfig])
def test_the_cores_of_tk_are_slices_of_one_tensor(kind: Any) -> None:
    _, adapter, _ = shaken(kind(r=3))
    (share,) = adapter.shares["blocks.1.mlp.fc1"]
    P = adapter.groups["16x32"].own[1, 0, 1]
    expected = sum(P[k] * adapter.C[:, :, k] for k in range(3))
    torch.testing.assert_close(adapter.cores(share)[0, 0, 1], expected, rtol=1e-12, atol=1e-12)


@both
def test_the_initialisation(kind: Any) -> None:
    torch.manual_seed(0)
    model, _ = fused_vit()
    adapter = pcclora.attach(model, kind(r=8))
    assert (adapter.V == 0).all() and adapter.U.abs().max() <= DIM**-0.5
    cores = sum(
        group.own[..., 0, 0].numel() if kind is FacTTTConfig else group.own[..., 0].numel()
        for group in adapter.groups.values()
    )
    assert cores == 2 * (4 + 2 + 2)
    bound = 8**-0.5 if kind is FacTTTConfig else (6 / (8 + 16)) ** 0.5
    for group in adapter.groups.values():
        assert 0.7 * bound < group.own.abs().max() <= bound
    if kind is FacTTKConfig:
        assert 0.9 * (3 / 64) ** 0.5 < adapter.C.abs().max() <= (3 / 64) ** 0.5


def test_a_slice_narrower_than_the_bases_takes_their_first_columns() -> None:
    targets = ("blocks.0.mlp.fc1[0:20]", "blocks.1.mlp.fc2[3:6]")
    model, adapter, _ = shaken(FacTTTConfig(r=2, target_modules=targets))
    assert adapter.V.shape == (2, 16) and adapter.groups["16x20"].own.shape == (1, 1, 2, 2, 2)
    linear, x = model.blocks[0].mlp.fc1, torch.randn(4, 16, dtype=torch.float64)
    expected = linear.weight.T.clone()
    expected[:, :20] += naive(adapter, "blocks.0.mlp.fc1", 0)[:, :20]
    torch.testing.assert_close(linear(x), x @ expected + linear.bias, rtol=1e-12, atol=1e-12)


def test_no_basis_is_wider_than_what_is_used_of_it() -> None:
    _, adapter, _ = shaken(FacTTTConfig(r=2, target_modules=("blocks.*.mlp.fc2[3:6]",)))
    assert adapter.U.shape == (16, 2) and adapter.V.shape == (2, 3)


@both
def test_dropout_keeps_the_mean(kind: Any) -> None:
    model, _, x = shaken(kind(r=3, dropout=0.4))
    qkv = model.blocks[0].attn.qkv
    with torch.no_grad():
        expected = qkv(x)
        model.train()
        draws = torch.stack([qkv(x) for _ in range(400)])
    assert not torch.equal(draws[0], draws[1])
    assert ((draws.mean(0) - expected).abs() <= 5 * draws.std(0) / 20 + 1e-12).all()


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "r is 0, at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"scale": float("inf")}, "scale is inf"),
        ({"r": 17}, "r is 17, but the narrowest target is 16 wide; choose at most that"),
    ],
)
def test_settings_without_a_meaning_are_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        pcclora.attach(fused_vit()[0], kind(**options))
