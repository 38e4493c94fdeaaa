"""CLoRA against its definition written out: the update, SADE and their gradients, counts of numbers and operations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import pcclora
from pcclora import CLoRAConfig, PccloraError
from pcclora.adapters.methods.clora import CLoRA
from tests.adapters.backbones import BACKBONES, ViT
from tests.adapters.twins import naive_sade, products

D_IN, TOKENS = 12, 5


class Maps(nn.Module):
    """Linear maps of several shapes, each applied to the same input."""

    def __init__(self, d_in: int = D_IN, d_out: tuple[int, ...] = (12, 12, 20)) -> None:
        super().__init__()
        self.qkv = nn.Linear(d_in, 3 * d_in)
        self.maps = nn.ModuleList(nn.Linear(d_in, d) for d in d_out)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.qkv(x), *(linear(x) for linear in self.maps)], dim=-1)


def adapted(
    config: CLoRAConfig, *, model: nn.Module | None = None, std: float = 0.3
) -> tuple[nn.Module, CLoRA, Tensor]:
    """A model in float64 whose adapter has random factors, and an input (T, d_in)."""
    torch.manual_seed(0)
    model = (Maps() if model is None else model).double()
    adapter = cast("CLoRA", pcclora.attach(model, config))
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval(), adapter, torch.randn(TOKENS, D_IN, dtype=torch.float64)


def naive_forward(model: nn.Module, adapter: CLoRA, x: Tensor) -> Tensor:
    """The definition, target by target and basis by basis."""
    maps = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    outputs = {name: x @ linear.weight.T + linear.bias for name, linear in maps.items()}
    for name, rows, W in products(adapter):
        for W_h in W:
            update = adapter.config.scale * (x @ W_h)
            if adapter.config.placement == "input":
                update = update @ maps[name].weight.T
            outputs[name] = outputs[name].clone()
            outputs[name][..., rows] += update
    return torch.cat(list(outputs.values()), dim=-1)


SETTINGS: dict[str, dict[str, Any]] = {
    "whole": {"target_modules": ("qkv", "maps.*")},
    "slices": {"target_modules": ("qkv[q,k,v]", "maps.0", "maps.2[4:16]")},
    "some_slices": {"target_modules": ("qkv[q,v]", "maps.1", "maps.2[0:3,7:10]"), "scale": 0.1},
    "shared_cores": {"target_modules": ("qkv[q,k,v]", "maps.*"), "share_cores": True},
    "half": {"target_modules": ("qkv[q,v]", "maps.*"), "share": "half"},
    "role": {"target_modules": ("qkv[q,k,v]", "maps.*"), "share": "role"},
    "input": {"target_modules": ("qkv", "maps.*"), "placement": "input", "scale": 2.0},
    "one_basis": {"target_modules": ("qkv[q,k,v]", "maps.*"), "bases": 1},
    "no_dropout_in_effect": {"target_modules": ("qkv[q,v]", "maps.*"), "dropout": 1e-15, "scale": 0.5},
}


def gradients(adapter: CLoRA, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(adapter.parameters())))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_forward_is_the_sum_over_the_bases(name: str) -> None:
    model, adapter, x = adapted(CLoRAConfig(r=3, **{"bases": 4, **SETTINGS[name]}))
    model.train(name == "no_dropout_in_effect")  # which takes the path that dropout takes
    expected = naive_forward(model, adapter, x)
    y = model(x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(y)
    ours, naive = gradients(adapter, (y * weights).sum()), gradients(adapter, (expected * weights).sum())
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SETTINGS)
def test_merged_weights_are_the_sum_over_the_bases(name: str) -> None:
    model, adapter, _ = adapted(CLoRAConfig(r=3, **{"bases": 4, **SETTINGS[name]}))
    expected = {}
    for module, rows, W in products(adapter):
        weight = expected.setdefault(module, model.get_parameter(f"{module}.weight").detach().clone())
        dW = adapter.config.scale * W.sum(0).detach()
        weight[rows] += weight @ dW.T if adapter.config.placement == "input" else dW.T
    pcclora.merge(model)
    for module, weight in expected.items():
        torch.testing.assert_close(model.get_parameter(f"{module}.weight").data, weight, rtol=1e-12, atol=1e-12)


def test_dropout_keeps_the_mean() -> None:
    model, _, x = adapted(CLoRAConfig(r=3, bases=2, dropout=0.4, target_modules=("qkv[q,v]", "maps.0")))
    with torch.no_grad():
        expected = model(x)
        model.train()
        draws = torch.stack([model(x) for _ in range(400)])
    assert not torch.equal(draws[0], draws[1])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("form", ["frobenius", "cosine"])
@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "one_basis"])
def test_sade_is_the_plain_form(name: str, form: str) -> None:
    config = CLoRAConfig(r=3, bases=4, diversity=0.7, diversity_form=cast("Any", form), **SETTINGS[name])
    _, adapter, _ = adapted(config)
    ours, naive = adapter.regularization(), naive_sade(adapter)
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(adapter, ours), gradients(adapter, naive), rtol=1e-10, atol=1e-12)
    if form == "cosine":
        with torch.no_grad():
            for group in adapter.groups.values():
                group.U.mul_(1e-3)
        torch.testing.assert_close(adapter.regularization(), ours, rtol=1e-12, atol=0)


@pytest.mark.parametrize("form", ["frobenius", "cosine"])
def test_sade_in_float32(form: str) -> None:
    config = CLoRAConfig(
        r=8, bases=4, diversity=1.0, diversity_form=cast("Any", form), target_modules=("qkv[q,k,v]", "maps.*")
    )
    _, adapter, _ = adapted(config, std=0.02)
    exact = naive_sade(adapter).item()
    adapter.float()
    assert adapter.regularization().item() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", ["frobenius", "cosine"])
def test_sade_is_zero_with_zero_gradient_at_the_start_and_finite_near_it(form: str, dtype: torch.dtype) -> None:
    config = CLoRAConfig(diversity=1.0, diversity_form=cast("Any", form), target_modules=("qkv[q,k,v]", "maps.*"))
    model, adapter, _ = adapted(config)
    model.to(dtype)
    for size in (0.0, 1e-30, 1e-18, 1e-9):
        for group in adapter.groups.values():
            nn.init.normal_(group.U, std=size)
        value = adapter.regularization()
        found = gradients(adapter, value)
        assert value.isfinite()
        assert all(gradient.isfinite().all() for gradient in found)
        if size == 0:
            assert value == 0
            assert all((gradient == 0).all() for gradient in found)


def test_no_penalty_without_pairs_or_weight() -> None:
    for options in ({"bases": 1}, {"diversity": 0.0}):
        _, adapter, _ = adapted(CLoRAConfig(**cast("Any", options), target_modules=("qkv",)))
        assert adapter.regularization() == 0


@pytest.mark.parametrize(("share_cores", "cores"), [(False, 4), (True, 1)])
def test_the_parameter_count(share_cores: bool, cores: int) -> None:
    model, p, r = Maps(), 4, 2
    config = CLoRAConfig(r=r, bases=p, share_cores=share_cores, target_modules=("qkv[q,k,v]", "maps.0"))
    adapter = pcclora.attach(model, config)
    assert pcclora.count_parameters(model).trainable == p * (2 * D_IN * r + cores * r * r)
    assert sum(parameter.numel() for parameter in adapter.parameters()) == p * (2 * D_IN * r + cores * r * r)


@pytest.mark.parametrize(
    ("share", "groups"),
    [
        ("shape", {"16x16": 16}),
        ("half", {"16x16_first": 8, "16x16_second": 8}),
        ("role", {"16x16_qkv[q]": 4, "16x16_qkv[k]": 4, "16x16_qkv[v]": 4, "16x16_proj": 4}),
    ],
)
def test_fewer_targets_may_share(share: Any, groups: dict[str, int]) -> None:
    p, r, d, m = 3, 2, 16, 16
    model = ViT(depth=4)
    adapter = cast("CLoRA", pcclora.attach(model, CLoRAConfig(r=r, bases=p, share=share)))
    assert {name: len(group.get_parameter("Q")) for name, group in adapter.groups.items()} == groups
    trained = sum(parameter.numel() for parameter in adapter.parameters())
    assert trained == p * (2 * len(groups) * d * r + m * r * r)
    halves = {adapter.group_of(target) for target in adapter.targets if target.module.startswith("blocks.1.")}
    assert halves == ({"16x16_first"} if share == "half" else set(groups))


def test_the_first_half_of_an_odd_number_of_blocks_is_the_larger() -> None:
    config = CLoRAConfig(share="half", target_modules=("blocks.*.attn.proj",))
    adapter = pcclora.attach(ViT(depth=3), config)
    assert [len(group.Q) for group in adapter.groups.values()] == [2, 1]
    config = CLoRAConfig(share="half", target_modules=("blocks.2.attn.proj", "blocks.3.attn.proj"))
    adapter = pcclora.attach(ViT(depth=4), config)  # of the blocks that have targets
    assert [len(group.Q) for group in adapter.groups.values()] == [1, 1]


@pytest.mark.parametrize("share", ["half", "role"])
def test_sharing_comes_back_from_a_file_and_not_into_another(share: Any, tmp_path: Path) -> None:
    model, x = BACKBONES["timm_vit"]()
    adapter = pcclora.attach(model, CLoRAConfig(r=2, share=share, modules_to_save=("head",)))  # in the form of peft
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    pcclora.save_adapter(model, tmp_path)
    fresh, _ = BACKBONES["timm_vit"]()
    assert pcclora.load_adapter(fresh, tmp_path).config.share == share
    assert torch.equal(fresh(x), model(x))
    other, _ = BACKBONES["timm_vit"]()
    pcclora.attach(other, CLoRAConfig(r=2, modules_to_save=("head",)))
    with pytest.raises(PccloraError, match=f"share is {share}, adapter 'default' of the model has shape"):
        pcclora.load_adapter(other, tmp_path)


def test_each_shape_has_bases_of_its_own() -> None:
    _, adapter, _ = adapted(CLoRAConfig(r=2, bases=3, target_modules=("qkv[q,k,v]", "maps.*")))
    assert {name: tuple(group.Q.shape) for name, group in adapter.groups.items()} == {
        "12x12": (5, 3, 2, 2),
        "12x20": (1, 3, 2, 2),
    }
    _, adapter, _ = adapted(CLoRAConfig(r=2, bases=3, placement="input", target_modules=("qkv", "maps.*")))
    assert {name: tuple(group.Q.shape) for name, group in adapter.groups.items()} == {"12x12": (4, 3, 2, 2)}


@pytest.mark.parametrize(("p", "r"), [(1, 2), (3, 2), (4, 3), (4, 4)])
def test_the_rank_of_an_update_is_p_times_r(p: int, r: int) -> None:
    _, adapter, _ = adapted(CLoRAConfig(r=r, bases=p, target_modules=("qkv[q,k,v]",)))
    for _, _, W in products(adapter):
        assert torch.linalg.matrix_rank(W.sum(0)) == min(p * r, D_IN)


def test_one_basis_is_the_sharing_of_fact_tt() -> None:
    """FacT-TT (arXiv 2212.03145): dW_j = s U Sigma_j V^T, with U and V shared by all."""
    model, adapter, x = adapted(CLoRAConfig(r=3, bases=1, scale=0.1, target_modules=("qkv[q,k,v]",)))
    bases = adapter.groups["12x12"]
    delta = torch.cat([bases.D[0] @ sigma @ bases.U[0] for sigma in bases.Q[:, 0]], dim=1)
    expected = x @ (model.qkv.weight.T + 0.1 * delta) + model.qkv.bias
    torch.testing.assert_close(model.qkv(x), expected, rtol=1e-12, atol=1e-12)


def test_the_initialisation() -> None:
    torch.manual_seed(0)
    model = Maps(d_in=64, d_out=(64,))
    adapter = pcclora.attach(model, CLoRAConfig(r=4, bases=3, target_modules=("qkv[q,k,v]", "maps.0")))
    group = adapter.groups["64x64"]
    assert (group.U == 0).all()
    for factor, fan_in in ((group.D, 64), (group.Q, 4)):  # Kaiming-uniform with a = sqrt(5): within fan_in^-1/2
        assert factor.abs().max() <= fan_in**-0.5
        assert factor.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)
        flat = factor.flatten(0, -3)
        assert all(not torch.equal(a, b) for i, a in enumerate(flat) for b in flat[:i])


def operations(action: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()


@pytest.mark.parametrize(("rows", "members"), [("[q,k,v]", 3), ("[q,v]", 2), ("", 1)])
def test_slices_of_one_map_share_x_times_d(rows: str, members: int) -> None:
    model, x = Maps(), torch.randn(TOKENS, D_IN)
    plain = operations(lambda: model.qkv(x))
    pcclora.attach(model, CLoRAConfig(r=2, bases=4, target_modules=(f"qkv{rows}",)))
    d_out = (D_IN if rows else 3 * D_IN) * members
    down, fold, up = D_IN * 8, 4 * 2 * 2 * d_out, 8 * d_out  # x D and times Q U a token, Q U once
    assert operations(lambda: model.qkv(x)) - plain == 2 * (TOKENS * (down + up) + fold)
    pcclora.merge(model)
    assert operations(lambda: model.qkv(x)) == plain


def test_sade_costs_a_small_part_of_the_plain_form() -> None:
    d, r, p, m = 96, 8, 4, 4
    config = CLoRAConfig(r=r, bases=p, target_modules=("qkv[q,k,v]", "maps.0"))
    _, adapter, _ = adapted(config, model=Maps(d_in=d, d_out=(d,)))
    ours, naive = operations(adapter.regularization), operations(lambda: naive_sade(adapter))
    assert naive == 2 * m * (p * (d * r * r + d * r * d) + p * (p - 1) // 2 * d**3)
    assert ours == 2 * (p * p * d * r * r + p * r * r * d) + 2 * m * (2 * p * r**3 + p * p * r**3 + p * p * r * r)
    assert naive > 100 * ours


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 0}, "r is 0"),
        ({"bases": 0}, "bases is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"diversity": -1.0}, "diversity is -1.0"),
        ({"diversity_form": "cos"}, "diversity_form is 'cos'"),
        ({"placement": "output"}, "placement is 'output'"),
        ({"share": "block"}, "share is 'block'; it is one of shape, half, role"),
        ({"scale": float("nan")}, "scale is nan"),
    ],
)
def test_settings_without_a_meaning_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        CLoRAConfig(**options)


def test_a_slice_has_no_input_of_its_own() -> None:
    with pytest.raises(PccloraError, match=r"qkv\[q\]': a slice has no input of its own"):
        pcclora.attach(Maps(), CLoRAConfig(placement="input", target_modules=("qkv[q]",)))


def test_the_default_trains_a_small_part_of_point_mae() -> None:
    model, _ = BACKBONES["point_mae_tiny"]()
    adapter = pcclora.attach(model, CLoRAConfig())
    assert len(adapter.targets) == 8
    head = sum(model.get_parameter(name).numel() for name in adapter.trained_parameters)
    assert pcclora.count_parameters(model).trainable == head + 4 * (2 * 24 * 8 + 8 * 8 * 8)
