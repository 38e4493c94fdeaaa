"""Which linear maps and rows a pattern names, and what is refused with a remedy."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import pcclora
from pcclora import CLoRAConfig, LinearConfig, LoRAConfig, PccloraError
from pcclora.adapters.targets import attention_targets, find_targets, input_targets, matches
from tests.adapters.backbones import DIM, fused_vit, mlp, timm_split_vit

SEGMENT = st.sampled_from(["a", "b", "ab", "0", "12", "a.b", "[q]", "?", ""])


def naive_matches(pattern: list[str], name: list[str]) -> bool:
    """The meaning, segment by segment."""
    if not pattern or not name:
        return not pattern and not name
    return pattern[0] in ("*", name[0]) and naive_matches(pattern[1:], name[1:])


@given(st.lists(SEGMENT | st.just("*"), min_size=1, max_size=4), st.lists(SEGMENT, min_size=1, max_size=4))
def test_a_pattern_matches_whole_names(pattern: list[str], name: list[str]) -> None:
    dotted, whole = ".".join(pattern), ".".join(name)
    assert matches(dotted, whole) == naive_matches(dotted.split("."), whole.split("."))
    assert matches(whole, whole)
    assert not matches(whole, f"{whole}.weight")
    assert matches(".".join("*" * len(whole.split("."))), whole)


def test_targets_come_in_the_models_order() -> None:
    model, _ = fused_vit()
    targets = find_targets(model, ["blocks.*.mlp.fc1", "blocks.1.attn.qkv[v,0:4,k]", "blocks.0.attn.qkv"])
    assert [str(target) for target in targets] == [
        "blocks.0.attn.qkv",
        "blocks.0.mlp.fc1",
        "blocks.1.attn.qkv[0:4]",
        "blocks.1.attn.qkv[k]",
        "blocks.1.attn.qkv[v]",
        "blocks.1.mlp.fc1",
    ]
    assert [(target.start, target.stop, target.d_in) for target in targets] == [
        (0, 3 * DIM, DIM),
        (0, 2 * DIM, DIM),
        (0, 4, DIM),
        (DIM, 2 * DIM, DIM),
        (2 * DIM, 3 * DIM, DIM),
        (0, 2 * DIM, DIM),
    ]


def test_letters_split_the_rows_of_the_last_name() -> None:
    model = nn.Module()
    model.kv, model.q = nn.Linear(4, 6), nn.Linear(4, 4)
    assert [(t.start, t.stop) for t in find_targets(model, ["kv[v]", "q[q]"])] == [(3, 6), (0, 4)]


def test_slices_change_their_rows_alone() -> None:
    model, x = fused_vit()
    qkv, x = model.blocks[0].attn.qkv, x[0]
    before = qkv(x)
    adapter = pcclora.attach(model, CLoRAConfig(r=2, target_modules=("blocks.0.attn.qkv[k]", "blocks.0.attn.qkv[0:3]")))
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    changed = (qkv(x) != before).any(0)
    assert changed.nonzero().flatten().tolist() == [0, 1, 2, *range(DIM, 2 * DIM)]


def test_defaults() -> None:
    model, _ = fused_vit()
    assert attention_targets(model) == tuple(
        name for i in range(2) for name in (f"blocks.{i}.attn.qkv[q,k,v]", f"blocks.{i}.attn.proj")
    )
    assert input_targets(model) == tuple(f"blocks.{i}.{name}" for name in ("attn.qkv", "mlp.fc1") for i in range(2))
    assert len(pcclora.attach(model, CLoRAConfig()).targets) == 8
    assert len(pcclora.attach(model, CLoRAConfig(placement="input"), name="input").targets) == 4
    assert len(pcclora.attach(model, LoRAConfig(), name="lora").targets) == 8
    split = [
        f"blocks.{i}.{name}" for i in range(2) for name in ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.proj")
    ]
    assert [str(target) for target in pcclora.attach(timm_split_vit()[0], CLoRAConfig()).targets] == split
    swiglu = [target.module for target in pcclora.attach(timm_split_vit()[0], CLoRAConfig(placement="input")).targets]
    assert swiglu[:5] == [*split[:3], "blocks.0.mlp.fc1_g", "blocks.0.mlp.fc1_x"] and len(swiglu) == 10
    for config in (CLoRAConfig(), LoRAConfig(), CLoRAConfig(placement="input")):
        with pytest.raises(PccloraError, match="Sequential has no attention with .* qkv, nor with q/k/v, .* yourself"):
            pcclora.attach(nn.Sequential(nn.Linear(2, 2)), config)


NAMES = [("q", "k", "v", "proj"), ("q_proj", "k_proj", "v_proj", "out_proj"), ("query", "key", "value", "o_proj")]


@pytest.mark.parametrize("names", NAMES)
def test_one_pattern_serves_fused_and_split_attention(names: tuple[str, ...]) -> None:
    q, k, v, out = (f"attn.{name}" for name in names)
    model = nn.ModuleDict({"attn": nn.ModuleDict({name: nn.Linear(4, 4) for name in names})})
    assert [str(target) for target in find_targets(model, attention_targets(model))] == [q, k, v, out]
    assert [str(target) for target in find_targets(model, ["attn.qkv[v,q]"])] == [q, v]
    assert [str(target) for target in find_targets(model, ["*.qkv"])] == [q, k, v]
    assert [str(target) for target in find_targets(model, ["attn.*"])] == [q, k, v, out]
    assert all(target.rows is None and target.d_out == 4 for target in find_targets(model, ["attn.qkv"]))
    with pytest.raises(PccloraError, match=rf"attn.qkv\[0:2\]': '0:2' is none of q, k, v, .* as {q}, {k}, {v}; write"):
        find_targets(model, ["attn.qkv[0:2]"])
    with pytest.raises(PccloraError, match=f"'{q}' and '{q}' share rows"):
        find_targets(model, ["attn.qkv[q]", q])


def test_a_fused_map_is_taken_before_others_of_its_attention() -> None:
    model = nn.ModuleDict({name: nn.Linear(6, 6) for name in ("q", "k", "v", "qkv", "proj")})
    assert attention_targets(model) == ("qkv[q,k,v]", "proj")
    assert [str(target) for target in find_targets(model, ["qkv[q]"])] == ["qkv[q]"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["blocks.*.attn.qvk"], "'blocks.*.attn.qvk' matches nothing.*nearest is 'blocks.[01].attn.qkv'"),
        (["attn.qkv"], "matches nothing.*one path segment"),
        (["blocks.*"], "'blocks.0' is no plain nn.Linear but Block"),
        (["blocks.0.norm1"], "no plain nn.Linear but LayerNorm"),
        (["blocks.*.attn.qkv[x]"], r"'x' is no single letter of 'qkv'.*48 rows.*'\[0:96\]'"),
        (["blocks.*.attn.qkv[qk]"], "'qk' is no single letter"),
        (["blocks.*.attn.qkv[]"], "'' is no single letter"),
        (["blocks.*.attn.proj[p,x]"], "'x' is no single letter of 'proj'"),
        (["blocks.*.attn.qkv[0:49]"], "rows 0 to 49 of 48 do not exist"),
        (["blocks.*.attn.qkv[4:4]"], "rows 4 to 4 of 48 do not exist"),
        (["blocks.*.attn.qkv[q,q]"], "share rows; name each row once"),
        (["blocks.*.attn.qkv[0:20]", "blocks.1.attn.qkv[k]"], r"'blocks.1.attn.qkv\[0:20\]' and .*\[k\]' share rows"),
        (["blocks.*.attn.qkv", "blocks.0.attn.qkv[v]"], "share rows"),
        (["blocks.*.attn.proj", "blocks.0.attn.proj"], "share rows"),
        (["blocks.*.attn.qkv[q"], "cannot be read; write it as"),
        (["[q]"], "cannot be read"),
        ([], "target_modules is empty"),
        ("blocks.*.attn.qkv", r"target_modules is the string .*write a list"),
    ],
)
def test_a_bad_pattern_is_refused_with_a_remedy(patterns: list[str], message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        find_targets(fused_vit()[0], patterns)


def test_a_name_with_one_letter_twice_needs_ranges() -> None:
    model = nn.Sequential()
    model.add_module("ffn", nn.Linear(4, 6))
    with pytest.raises(PccloraError, match="'f' is no single letter of 'ffn'"):
        find_targets(model, ["ffn[f]"])


class Scaled(nn.Linear):
    """A linear map with a forward of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Named(nn.Linear):
    """A linear map whose class would be lost."""


@pytest.mark.parametrize(
    "linear", [Scaled(4, 4), Named(4, 4), parametrizations.weight_norm(nn.Linear(4, 4)), nn.LazyLinear(4)]
)
def test_only_plain_linear_maps_are_adapted(linear: nn.Module) -> None:
    kind = type(linear)
    with pytest.raises(PccloraError, match="'0' is no plain nn.Linear but"):
        find_targets(nn.Sequential(linear), ["0"])
    assert type(linear) is kind


def test_a_linear_map_whose_forward_was_replaced_is_refused() -> None:
    model, _ = mlp()
    model.fc2.forward = model.fc2.forward
    with pytest.raises(PccloraError, match="'fc2' is no plain nn.Linear"):
        find_targets(model, ["fc2"])


def test_an_adapted_linear_map_can_be_a_target_again_and_keeps_its_hooks() -> None:
    model, x = mlp()
    calls: list[int] = []
    model.fc2.register_forward_hook(lambda *_: calls.append(1))
    pcclora.attach(model, LoRAConfig(target_modules=("fc2",)))
    assert find_targets(model, ["fc2"]) == find_targets(mlp()[0], ["fc2"])
    with pytest.raises(PccloraError, match="matches nothing"):
        find_targets(model, ["adapters"])
    model(x)
    assert calls == [1]


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (("haed",), "modules_to_save 'haed' matches nothing.*nearest is 'head'"),
        (("blocks.*.attn",), "'blocks.0.attn.proj.weight' is a target and in modules_to_save"),
        (("blocks.0.attn.qkv.weight",), "is a target and in modules_to_save"),
        ("head", "modules_to_save is the string 'head'"),
    ],
)
def test_bad_modules_to_save_are_refused(saved: tuple[str, ...], message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        pcclora.attach(fused_vit()[0], LoRAConfig(modules_to_save=saved))


def test_modules_to_save_take_modules_and_parameters_with_their_buffers() -> None:
    model, _ = fused_vit()
    adapter = pcclora.attach(model, LinearConfig(modules_to_save=("head.0", "cls_token", "blocks.*.norm1")))
    norms = [f"blocks.{i}.norm1.{name}" for i in range(2) for name in ("weight", "bias")]
    assert set(adapter.trained_parameters) == {"cls_token", "head.0.weight", "head.0.bias", *norms}
    assert set(adapter.trained_buffers) == {
        f"head.0.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert torch.equal(model.cls_token, fused_vit()[0].cls_token)
