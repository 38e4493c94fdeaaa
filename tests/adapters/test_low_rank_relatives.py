"""LoRA-XS and MoSLoRA against their definitions, and against CLoRA."""

from typing import Any

import pytest
import torch
from torch import nn

import pcclora
from pcclora import CLoRAConfig, PccloraError
from pcclora.adapters import LoRAXSConfig, MoSLoRAConfig
from tests.adapters.backbones import DIM, fused_vit

SLICES = ("blocks.*.attn.qkv[q,v]",)


def test_moslora_is_clora_with_one_basis_for_each_target() -> None:
    model, x = fused_vit()
    other, _ = fused_vit()
    model, other, x = model.double(), other.double(), x.double()
    one = {"target_modules": ("blocks.1.attn.proj",)}
    adapter = pcclora.attach(model, MoSLoRAConfig(r=3, lora_alpha=6, **one))
    clora = pcclora.attach(other, CLoRAConfig(r=3, bases=1, scale=2, **one))
    own, theirs = adapter.groups["16x16"], clora.groups["16x16"]
    for tensor in adapter.parameters():
        nn.init.normal_(tensor)
    theirs.D.data, theirs.Q.data, theirs.U.data = own.A.data.mT, own.M.data[None], own.B.data.mT
    assert sum(p.numel() for p in adapter.parameters()) == sum(p.numel() for p in clora.parameters())
    torch.testing.assert_close(model(x), other(x), rtol=1e-12, atol=1e-12)


def test_moslora_starts_as_its_paper() -> None:
    torch.manual_seed(0)
    group = pcclora.attach(fused_vit()[0], MoSLoRAConfig(r=4)).groups["16x16"]
    assert (group.B == 0).all() and group.A.abs().max() <= DIM**-0.5
    assert 0.9 * 0.5 < group.M.abs().max() <= 0.5  # Kaiming-uniform, a = sqrt(5), of r = 4


@pytest.mark.parametrize("rslora", [False, True])
def test_lora_xs_is_a_core_between_the_singular_vectors_of_each_slice(rslora: bool) -> None:
    model, x = fused_vit()
    model, x = model.double(), x.double()
    qkv = model.blocks[0].attn.qkv
    config = LoRAXSConfig(r=3, lora_alpha=5, use_rslora=rslora, target_modules=SLICES)
    adapter = pcclora.attach(model, config)
    group = adapter.groups["16x16"]
    nn.init.normal_(group.R)
    expected = qkv.weight.detach().T.clone()  # (d_in, d_out), as the paper has it
    for member, rows in enumerate((slice(0, DIM), slice(2 * DIM, 3 * DIM))):
        U, S, V = torch.linalg.svd(qkv.weight.detach().T[:, rows])
        sign = torch.sign(U[:, :3].gather(0, U[:, :3].abs().argmax(0, keepdim=True)))
        expected[:, rows] += config.scale * (U[:, :3] * sign * S[:3]) @ group.R[member] @ (sign.T * V[:3])
    torch.testing.assert_close(qkv(x), x @ expected + qkv.bias, rtol=1e-10, atol=1e-10)
    assert config.scale == pytest.approx(5 / 3**0.5 if rslora else 5 / 3)


def test_lora_xs_keeps_its_cores_alone_and_is_within_rounding_of_the_base_as_in_the_paper() -> None:
    base, x = fused_vit()
    model, _ = fused_vit()
    adapter = pcclora.attach(model, LoRAXSConfig(r=3, init="paper"))
    assert adapter.state_dict().keys() == {"groups.16x16.R"} and adapter.groups["16x16"].R.shape == (8, 3, 3)
    assert 0 < (model(x) - base(x)).abs().max() <= 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "r is 0"),
        ({"init": "svd"}, "init is 'svd', zero or paper"),
        ({"r": 17}, r"r is 17, but target 'blocks.0.attn.qkv\[q\]' maps 16 to 16, so its rank is 16 at most; choose a"),
    ],
)
def test_settings_without_a_meaning_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        pcclora.attach(fused_vit()[0], LoRAXSConfig(**options))
