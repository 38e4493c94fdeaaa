"""LoRA against its definition written out; agreement with Hugging Face peft is tested beside the file format."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pcclora
from pcclora import LoRAConfig, PccloraError
from pcclora.adapters import DoRAConfig, MoSLoRAConfig
from pcclora.adapters.attach import rate_factors
from pcclora.adapters.svd import top_singular
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


def test_rslora_scales_by_the_root_of_the_rank() -> None:
    model, x = fused_vit()
    other, _ = fused_vit()
    adapter = pcclora.attach(model, LoRAConfig(r=4, lora_alpha=3, use_rslora=True))
    twin = pcclora.attach(other, LoRAConfig(r=4, lora_alpha=6))
    for own, same in zip(adapter.parameters(), twin.parameters(), strict=True):
        same.data = nn.init.normal_(own).data.clone()
    assert adapter.config.scale == 1.5 and torch.equal(model(x), other(x))


@pytest.mark.parametrize("rslora", [False, True])
def test_pissa_trains_the_largest_singular_triplets_of_each_slice(rslora: bool) -> None:
    model, x = fused_vit()
    qkv, base = model.blocks[1].attn.qkv, pcclora.adapters.base_fingerprint(model)
    options = {"use_rslora": rslora, "target_modules": ("blocks.*.attn.qkv[q,v]",), "modules_to_save": ()}
    config = LoRAConfig(r=3, lora_alpha=5, init="pissa", **options)
    adapter = pcclora.attach(model, config)
    factors, scale = adapter.groups["16x16"], config.scale
    U, S, V = torch.linalg.svd(qkv.weight[2 * DIM :].detach().double())
    product = scale * factors.B[3].double() @ factors.A[3].double()  # v of block 1
    torch.testing.assert_close(product, U[:, :3] * S[:3] @ V[:3], rtol=1e-5, atol=1e-5)
    for singular, a, b in zip(S, factors.A[3], factors.B[3].T, strict=False):  # each half of the triplet
        torch.testing.assert_close(a.norm() ** 2, singular.float() / scale, rtol=1e-5, atol=0)
        torch.testing.assert_close(b.norm() ** 2, singular.float() / scale, rtol=1e-5, atol=0)

    with torch.no_grad():
        factors.B[3] += 0.1
    residual = qkv.weight.detach().clone()
    for member, rows in ((2, slice(0, DIM)), (3, slice(2 * DIM, 3 * DIM))):
        U, S, V = torch.linalg.svd(qkv.weight[rows].detach())
        residual[rows] += scale * factors.B[member] @ factors.A[member] - U[:, :3] * S[:3] @ V[:3]
    torch.testing.assert_close(qkv(x), x @ residual.T + qkv.bias, rtol=2e-5, atol=2e-5)
    assert pcclora.adapters.base_fingerprint(model) == base


def test_a_file_of_pissa_is_refused_on_another_base_and_where_the_start_is_another(tmp_path: Path) -> None:
    model, x = fused_vit()
    pcclora.attach(model, LoRAConfig(r=3, init="pissa"))
    pcclora.save_adapter(model, tmp_path)
    other, _ = fused_vit()
    with torch.no_grad():
        other.blocks[0].attn.qkv.weight[0, 0] += 1e-6
    with pytest.raises(PccloraError, match="trained on other base weights"):
        pcclora.load_adapter(other, tmp_path)
    again, _ = fused_vit()
    pcclora.load_adapter(again, tmp_path)
    assert torch.equal(again(x), model(x))
    model.adapters["default"].groups["16x16"].A0 *= -1  # as another library might have it
    pcclora.save_adapter(model, tmp_path)
    with pytest.raises(PccloraError, match=r"was trained with another 'groups\.16x16\.A0', which is not stored"):
        pcclora.load_adapter(fused_vit()[0], tmp_path)


def test_singular_triplets_have_a_sign_of_their_own() -> None:
    W = torch.randn(12, 20)
    U, S, V = top_singular(W, 5)
    torch.testing.assert_close(top_singular(-W, 5)[2], V)
    assert (V.gather(1, V.abs().argmax(1, keepdim=True)) > 0).all()
    left = W.double() - U * S @ V
    assert torch.linalg.matrix_norm(left, 2).item() == pytest.approx(torch.linalg.svdvals(W)[5].item(), rel=1e-5)


def test_targets_may_have_ranks_and_scales_of_their_own() -> None:
    patterns = {"rank_pattern": {"1.attn.qkv": 5, "qkv": 3}, "alpha_pattern": {"proj": 2.0}}
    config = LoRAConfig(r=2, lora_alpha=8, target_modules=("blocks.*.attn.qkv[q,v]", "blocks.*.attn.proj"), **patterns)
    adapter = pcclora.attach(fused_vit()[0], config)
    found = {name: (tuple(group.A.shape), group.scale) for name, group in adapter.groups.items()}
    assert found == {
        "16x16_r3": ((2, 3, 16), 8 / 3),
        "16x16_r5": ((2, 5, 16), 8 / 5),
        "16x16_alpha2p0": ((2, 2, 16), 1.0),
    }
    assert adapter.config.rank_pattern == {r"^blocks\.0\.attn\.qkv": 3, r"^blocks\.1\.attn\.qkv": 5}
    assert config.rank_pattern == patterns["rank_pattern"]


def test_a_pattern_that_means_no_target_is_refused() -> None:
    with pytest.raises(
        PccloraError, match="rank_pattern or alpha_pattern 'fc1' matches no target; targets are 'blocks.0"
    ):
        pcclora.attach(fused_vit()[0], LoRAConfig(alpha_pattern={"fc1": 2.0}))


def test_only_what_lora_plus_changes_has_a_factor() -> None:
    model, _ = fused_vit()
    assert rate_factors(model) == {}
    pcclora.attach(model, LoRAConfig())
    assert rate_factors(model) == {}
    for config in (LoRAConfig(loraplus_lr_ratio=16), DoRAConfig(loraplus_lr_ratio=16)):
        pcclora.attach(model, config, name="plus")
        assert rate_factors(model) == {"adapters.plus.groups.16x16.B": 16}
        assert rate_factors(nn.Sequential(model)) == {"0.adapters.plus.groups.16x16.B": 16}
        pcclora.set_adapter(model, "default")
        assert rate_factors(model) == {}
        pcclora.detach(model, "plus")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "r is 0"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ({"lora_alpha": float("inf")}, "lora_alpha is inf"),
        ({"rank_pattern": {"qkv(": 2}}, "rank_pattern or alpha_pattern 'qkv\\(' is no regular expression"),
        ({"init": "zero"}, "init is 'zero', here kaiming or pissa"),
        ({"loraplus_lr_ratio": 0.0}, "loraplus_lr_ratio is 0.0, above 0"),
        ({"init": "pissa", "lora_alpha": 0.0}, "lora_alpha is 0.0; with init 'pissa' it is above 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        LoRAConfig(**options)


def test_a_rank_that_a_slice_does_not_have_is_refused() -> None:
    config = LoRAConfig(r=8, init="pissa", target_modules=("blocks.*.attn.qkv[0:5]",))
    with pytest.raises(
        PccloraError, match=r"r is 8, but target 'blocks.0.attn.qkv\[0:5\]' maps 16 to 5.*choose a smaller"
    ):
        pcclora.attach(fused_vit()[0], config)


@pytest.mark.parametrize("kind", [DoRAConfig, MoSLoRAConfig])
def test_other_methods_do_not_start_from_singular_triplets(kind: Any) -> None:
    with pytest.raises(PccloraError, match="init is 'pissa', here kaiming"):
        kind(init="pissa")
