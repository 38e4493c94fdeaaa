"""LoRA against its definition written out; agreement with Hugging Face peft is tested beside the file format."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pcclora
from pcclora import LoRAConfig, PccloraError
from tests.adapters.backbones import DIM, fused_vit


@pytest.mark.parametrize("rows", ["", "[q,k,v]", "[q,v]", "[0:3,40:48]", "[v]"])
def test_the_update_is_b_times_a_in_the_targets_rows(rows: str) -> None:
    model, x = fused_vit()
    model, x = model.double(), x.double()
    qkv = model.blocks[0].attn.qkv
    adapter = pcclora.attach(model, LoRAConfig(r=3, lora_alpha=6, target_modules=(f"blocks.*.attn.qkv{rows}",)))
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    expected = qkv.weight.detach().clone()
    place: dict[str, int] = {}
    for target in adapter.targets:
        shape = f"{target.d_in}x{target.d_out}"
        i = place.get(shape, 0)
        place[shape] = i + 1
        if target.module == "blocks.0.attn.qkv":
            expected[target.start : target.stop] += 2 * adapter.groups[shape].B[i] @ adapter.groups[shape].A[i]
    torch.testing.assert_close(qkv(x), x @ expected.T + qkv.bias, rtol=1e-12, atol=1e-12)
    pcclora.merge(model)
    torch.testing.assert_close(qkv.weight.data, expected.detach(), rtol=1e-12, atol=1e-12)


def test_the_initialisation_and_the_parameter_count() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10))
    adapter = pcclora.attach(model, LoRAConfig(r=4, target_modules=("0", "1", "2")))
    square, last = adapter.groups["64x64"], adapter.groups["64x10"]
    assert square.A.shape == (2, 4, 64)
    assert (square.B == 0).all() and (last.B == 0).all()
    assert square.A.abs().max() <= 64**-0.5  # Kaiming-uniform with a = sqrt(5)
    assert square.A.std().item() == pytest.approx((3 * 64) ** -0.5, rel=0.1)
    assert pcclora.count_parameters(model).trainable == 4 * (2 * (64 + 64) + 64 + 10)


def test_slices_of_one_map_share_one_product_with_a() -> None:
    model, x = fused_vit()
    qkv = model.blocks[0].attn.qkv
    pcclora.attach(model, LoRAConfig(r=2, target_modules=("blocks.0.attn.qkv[q,k,v]",)))
    with FlopCounterMode(display=False) as counter:
        qkv(x)
    tokens = x.shape[0] * x.shape[1]
    assert counter.get_total_flops() == 2 * tokens * DIM * (3 * DIM + 3 * 2 + 3 * 2)
    assert counter.flop_counts["Global"][torch.ops.aten.addmm] == 2 * tokens * DIM * 3 * DIM


def test_dropout_keeps_the_mean() -> None:
    model, x = fused_vit()
    qkv, x = model.blocks[0].attn.qkv, x[0].double()
    model.double()
    adapter = pcclora.attach(model, LoRAConfig(lora_dropout=0.4, target_modules=("blocks.0.attn.qkv[q,v]",)))
    nn.init.normal_(next(iter(adapter.groups.values())).B)
    with torch.no_grad():
        expected = qkv(x)
        model.train()
        draws = torch.stack([qkv(x) for _ in range(400)])
    assert not torch.equal(draws[0], draws[1])
    assert ((draws.mean(0) - expected).abs() <= 5 * draws.std(0) / 20 + 1e-12).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "r is 0"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ({"lora_alpha": float("inf")}, "lora_alpha is inf"),
    ],
)
def test_settings_without_a_meaning_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        LoRAConfig(**options)
