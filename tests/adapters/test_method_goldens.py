"""Each method computes what the original code does: with the golden's tensors the logits are the golden's."""

import re
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

import pcclora
from pcclora.adapters import (
    Adapter,
    AdapterPlusConfig,
    AdaptFormerConfig,
    ARCConfig,
    DAPTConfig,
    DoRAConfig,
    FacTTKConfig,
    FacTTTConfig,
    GAPromptConfig,
    IDPTConfig,
    PointGSTConfig,
    PointLoRAConfig,
    PPTConfig,
    RepAdapterConfig,
    SSFConfig,
    VeRAConfig,
    VPTDeepConfig,
)
from pcclora.models import create_model

State = Mapping[str, Tensor]
TOLERANCE = 2e-5


def point_mae() -> nn.Module:
    return create_model("point_mae", num_classes=15, num_groups=128).eval()


def tiny_vit() -> nn.Module:
    pytest.importorskip("timm")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
    return create_model("timm/vit_tiny_patch16_224", num_classes=10, **sizes).eval()


def load_trunk(model: nn.Module, state: State) -> None:
    """Put the golden's weights into the model's own parameters, under their own names; a wider head stays as it is."""
    own = model.state_dict()
    named = {key.replace("blocks.blocks.", "blocks."): value for key, value in state.items()}
    usable = {key: named[key] for key in own if key in named and not key.startswith("adapters.")}
    assert len(usable) >= 0.9 * sum(not key.startswith("adapters.") for key in own)
    with torch.no_grad():
        for key, value in usable.items():
            dict([*model.named_parameters(), *model.named_buffers()])[key].copy_(value)


def fill(adapter: Adapter, tensors: Mapping[str, Tensor]) -> None:
    """Give the adapter all of its tensors, and none twice."""
    own = adapter.state_dict()
    assert tensors.keys() == {key for key in own if not key.endswith("num_batches_tracked")}
    for key, value in tensors.items():
        own[key].copy_(value.view_as(own[key]))


def relative(computed: Tensor, expected: Tensor) -> float:
    return float(((computed - expected).norm() / expected.norm()).detach())


def stacked(state: State, pattern: str, count: int) -> Tensor:
    return torch.stack([state[pattern.format(i=i)] for i in range(count)])


def test_vpt_deep_of_points(golden):
    state, arrays = golden("vpt_deep_cls")
    model = point_mae()
    adapter = pcclora.attach(model, VPTDeepConfig(prompts=10)).eval()
    load_trunk(model, state)
    fill(
        adapter,
        {
            "prompts": stacked(state, "cls_prompt_list.{i}", 12),
            "positions": stacked(state, "cls_prompt_pos_list.{i}", 12),
        },
    )
    assert relative(model(arrays["points"]), arrays["logits"]) < TOLERANCE
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 360_463


def test_vpt_deep_of_images(golden):
    state, arrays = golden("vit_vpt_deep")
    model = tiny_vit()
    adapter = pcclora.attach(model, VPTDeepConfig(prompts=4)).eval()
    load_trunk(model, state)
    prompts = [state["transformer.prompt_embeddings"], state["transformer.deep_prompt_embeddings"]]
    fill(adapter, {"prompts": torch.cat(prompts)})
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def test_adaptformer(golden):
    state, arrays = golden("vit_adaptformer")
    model = tiny_vit()
    adapter = pcclora.attach(model, AdaptFormerConfig(m=8, scale=0.1)).eval()
    load_trunk(model, state)
    names = {
        "down": "down_proj.weight",
        "down_bias": "down_proj.bias",
        "up": "up_proj.weight",
        "up_bias": "up_proj.bias",
    }
    own = {f"bottlenecks.{k}": stacked(state, "blocks.{i}.adaptmlp." + v, 3) for k, v in names.items()}
    fill(adapter, own)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def test_adapter_plus(golden):
    state, arrays = golden("vit_adapter_plus")
    model = tiny_vit()
    adapter = pcclora.attach(model, AdapterPlusConfig(m=8)).eval()
    load_trunk(model, state)
    names = {
        "bottlenecks.down": "bottleneck.1.weight",
        "bottlenecks.down_bias": "bottleneck.1.bias",
        "bottlenecks.up": "bottleneck.4.weight",
        "bottlenecks.up_bias": "bottleneck.4.bias",
        "scales": "scaling",
    }
    fill(adapter, {k: stacked(state, "blocks.{i}.adapter." + v, 3) for k, v in names.items()})
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def test_ssf(golden):
    state, arrays = golden("vit_ssf")
    model = tiny_vit()
    adapter = pcclora.attach(model, SSFConfig()).eval()
    load_trunk(model, state)
    places = {
        "patch_embed.proj": "patch_embed.ssf_{}_1", "norm": "ssf_{}_1", "norm1": "ssf_{}_1", "norm2": "ssf_{}_2",
        "attn.qkv": "attn.ssf_{}_1", "attn.proj": "attn.ssf_{}_2", "mlp.fc1": "mlp.ssf_{}_1", "mlp.fc2": "mlp.ssf_{}_2",
    }  # fmt: skip
    own = {}
    for key in adapter.state_dict():
        kind, _, path = key.partition(".")
        block = re.match(r"blocks/\d+/", path)
        prefix, name = (block[0].replace("/", "."), path[block.end() :]) if block else ("", path)
        own[key] = state[prefix + places[name.replace("/", ".")].format(kind.removesuffix("s"))]
    fill(adapter, own)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE
    pcclora.merge(model)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def test_arc(golden):
    state, arrays = golden("vit_arc")
    model = tiny_vit()
    adapter = pcclora.attach(model, ARCConfig(k=10)).eval()
    load_trunk(model, state)
    own = {}
    for kind, name in (("qkv_48", "att"), ("fc1_48", "mlp")):
        own[f"bases.{kind}"] = state[f"transformer.{name}_down_projection"]
        own[f"scales.{kind}"] = stacked(state, f"transformer.layer.{{i}}.{name}_adapter.adapter_rescale", 3)
        own[f"shifts.{kind}"] = stacked(state, f"transformer.layer.{{i}}.{name}_adapter.adapter_bias", 3)
    fill(adapter, own)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE
    pcclora.merge(model)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def test_fact_tt(golden):
    state, arrays = golden("vit_fact_tt")
    model = tiny_vit()
    adapter = pcclora.attach(model, FacTTTConfig(r=8, scale=0.5)).eval()
    load_trunk(model, state)
    attention = [f"blocks.{i}.attn.{name}_FacTs.weight" for i in range(3) for name in ("q", "k", "v", "proj")]
    own = {
        "U": state["FacTu.weight"].T,
        "V": state["FacTv.weight"].T,
        "groups.48x48.own": torch.stack([state[key].T for key in attention]),
        "groups.48x192.own": stacked(state, "blocks.{i}.mlp.fc1_FacTs.weight", 3).view(3, 4, 8, 8).mT,
        "groups.192x48.own": stacked(state, "blocks.{i}.mlp.fc2_FacTs.weight", 3).view(3, 8, 4, 8).permute(0, 2, 3, 1),
    }
    fill(adapter, {key: value.contiguous() for key, value in own.items()})
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE
    pcclora.merge(model)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def test_fact_tk_with_the_cores_of_mlps_relabelled_as_in_the_released_code(golden, monkeypatch):
    state, arrays = golden("vit_fact_tk")
    model = tiny_vit()
    adapter = pcclora.attach(model, FacTTKConfig(r=8, scale=0.5)).eval()
    load_trunk(model, state)
    P = state["FacTp"].T.reshape(3, 12, 8)
    own = {"U": state["FacTu.weight"].T, "V": state["FacTv.weight"].T, "C": state["FacTc"]}
    parts = {"48x48": P[:, :4], "48x192": P[:, 4:8], "192x48": P[:, 8:]}
    fill(
        adapter,
        {key: v.contiguous() for key, v in own.items()} | {f"groups.{k}.own": v.contiguous() for k, v in parts.items()},
    )

    def interleaved(share):
        S = clean(share)
        if share.group == "48x48":
            return S
        blocks = S.view(1, 4, 8, 8).permute(0, 2, 3, 1).reshape(1, 8, 4, 8).transpose(1, 2)  # column 4 j + c of 32
        return (blocks if share.group == "48x192" else blocks.mT).reshape(S.shape)

    assert relative(model(arrays["images"]), arrays["logits"]) > 0.01
    clean = adapter.cores
    monkeypatch.setattr(adapter, "cores", interleaved)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE
    pcclora.merge(model)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def test_repadapter(golden):
    state, arrays = golden("vit_repadapter")
    model = tiny_vit()
    adapter = pcclora.attach(model, RepAdapterConfig(m=8, scale=0.5)).eval()
    load_trunk(model, state)
    names = {"down": "A.weight", "down_bias": "A.bias", "up": "B.weight", "up_bias": "B.bias"}
    own = {
        f"bottlenecks.{kind}_48.{ours}": stacked(state, f"blocks.{{i}}.adapter_{place}.conv_{theirs}", 3)
        for kind, place in (("qkv", "attn"), ("fc1", "mlp"))
        for ours, theirs in names.items()
    }
    fill(adapter, own)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE
    pcclora.merge(model)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


WHOLE = ("blocks.*.attn.qkv", "blocks.*.attn.proj")


def test_dora(golden):
    state, arrays = golden("vit_dora")
    model = tiny_vit()
    adapter = pcclora.attach(model, DoRAConfig(r=4, lora_alpha=8.0, target_modules=WHOLE)).eval()
    load_trunk(model, {key.removeprefix("base_model.model.").replace(".base_layer", ""): v for key, v in state.items()})
    own = {}
    for group, name in (("48x144", "qkv"), ("48x48", "proj")):
        at = f"base_model.model.blocks.{{i}}.attn.{name}."
        own[f"groups.{group}.A"] = stacked(state, _found(state, at + "lora_A"), 3)
        own[f"groups.{group}.B"] = stacked(state, _found(state, at + "lora_B"), 3)
        own[f"groups.{group}.m"] = stacked(state, _found(state, at + "lora_magnitude_vector"), 3)
    fill(adapter, own)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE
    pcclora.merge(model)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def test_vera(golden):
    state, arrays = golden("vit_vera")
    model = tiny_vit()
    adapter = pcclora.attach(model, VeRAConfig(r=8, target_modules=WHOLE)).eval()
    load_trunk(model, {key.removeprefix("base_model.model.").replace(".base_layer", ""): v for key, v in state.items()})
    A, B = (state[_found(state, f"base_model.{name}")] for name in ("vera_A", "vera_B"))
    own = {}
    for group, name in (("48x144", "qkv"), ("48x48", "proj")):
        at = f"base_model.model.blocks.{{i}}.attn.{name}."
        own[f"groups.{group}.l"] = stacked(state, _found(state, at + "vera_lambda_d"), 3)
        own[f"groups.{group}.b"] = stacked(state, _found(state, at + "vera_lambda_b"), 3)
        vectors = adapter.groups[group]
        vectors.A.copy_(A), vectors.B.copy_(B[: len(vectors.B)])
    fill(adapter, own)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE
    pcclora.merge(model)
    assert relative(model(arrays["images"]), arrays["logits"]) < TOLERANCE


def _found(state: State, start: str) -> str:
    """Return the whole key that begins so, with ``{i}`` for the block."""
    (end,) = {key[len(start.format(i=0)) :] for key in state if key.startswith(start.format(i=0))}
    return start + end


def test_idpt(golden):
    state, arrays = golden("idpt_cls")
    model = point_mae()
    adapter = pcclora.attach(model, IDPTConfig()).eval()
    load_trunk(model, state)
    own = {"position": state["prompt_pos"], "maker.join.weight": state["blocks.cls.conv5.0.weight"]}
    norms = {"maker.norm": "conv5.1"} | {f"maker.layers.{n}.norm": f"conv{n + 1}.1" for n in range(3)}
    for n in range(3):
        own[f"maker.layers.{n}.edge.weight"] = state[f"blocks.cls.conv{n + 1}.0.weight"]
    for ours, theirs in norms.items():
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            own[f"{ours}.{leaf}"] = state[f"blocks.cls.{theirs}.{leaf}"]
    fill(adapter, own)
    assert relative(model(arrays["points"]), arrays["logits"]) < TOLERANCE
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 1_696_783 + 384  # and the prompt's position


def test_pointgst(golden):
    state, arrays = golden("pointgst_spec_cls")
    model = point_mae()
    adapter = pcclora.attach(model, PointGSTConfig()).eval()
    load_trunk(model, state)
    names = {"down": "down", "norm1": "norm_ly1", "norm2": "norm_ly2", "spectral": "adapt1", "up": "up"}
    own = {
        f"branches.{i}.{ours}.{leaf}": state[f"blocks.blocks.{i}.gft_adapter.{theirs}.{leaf}"]
        for i in range(12)
        for ours, theirs in names.items()
        for leaf in ("weight", "bias")
    }
    fill(adapter, own)
    assert relative(model(arrays["points"]), arrays["logits"]) < TOLERANCE
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 622_831


def test_pointlora(golden):
    state, arrays = golden("pointlora_cls")
    model = point_mae()
    adapter = pcclora.attach(model, PointLoRAConfig()).eval()
    load_trunk(
        model,
        {
            key.replace(".linear.", "."): v
            for key, v in state.items()
            if not key.endswith((".qkv.weight", ".proj.weight"))
        },
    )
    own = {}
    for name, shape in (("qkv", "384x1152"), ("proj", "384x384")):
        for factor in "AB":
            own[f"groups.{shape}.factors.{factor}"] = stacked(
                state, f"blocks.blocks.{{i}}.attn.{name}.lora_{factor}", 12
            )
    names = {"groups.384x1152.prompt": "qkv", "groups.384x384.prompt": "proj"}
    names = {ours: f"blocks.prompt_{name}_mlp" for ours, name in names.items()}
    names |= {"token_prompts.own": "blocks.prompt_mlp", "token_prompts.more": "blocks.prompt_pos_mlp"}
    maps = [f"{layer}.{leaf}" for layer in (0, 2) for leaf in ("weight", "bias")]
    own |= {f"{ours}.{key}": state[f"{theirs}.{key}"] for ours, theirs in names.items() for key in maps}
    own |= {
        f"scorer.{2 * k}.{leaf}": state[f"lora_mask_predictor.fc{k + 1}.{leaf}"]
        for k in (0, 1)
        for leaf in ("weight", "bias")
    }
    fill(adapter, own)
    assert relative(model(arrays["points"]), arrays["logits"]) < TOLERANCE
    assert adapter.regularization() == 0
    adapter.train()  # it has no dropout; the tokeniser's BatchNorm stays in eval mode
    model(arrays["points"])
    assert relative(adapter.regularization(), 0.004 * arrays["entropy"]) < TOLERANCE
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 772_752


@pytest.mark.parametrize(
    ("name", "second"), [("ppt_cls", {}), ("ppt_two_sets_cls", {"num_groups": 32, "group_size": 64})]
)
def test_ppt(golden, name, second):
    state, arrays = golden(name)
    model = point_mae()
    adapter = pcclora.attach(model, PPTConfig(**second)).eval()
    load_trunk(model, state)
    names = {"prompts.own": "prompt_mlp", "prompts.more": "prompt_pos_mlp", "beside": "prompt_all_mlp"}
    maps = [f"{layer}.{leaf}" for layer in (0, 2) for leaf in ("weight", "bias")]
    fill(adapter, {f"{ours}.{key}": state[f"blocks.{theirs}.{key}"] for ours, theirs in names.items() for key in maps})
    assert relative(model(arrays["points"]), arrays["logits"]) < TOLERANCE
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 1_042_191


@pytest.mark.parametrize(
    ("neighbours", "expected"),
    [("patches", "logits_own_patches"), ("prompts", "logits_alone"), ("leaky", "logits")],
)
def test_gaprompt(golden, neighbours, expected, tmp_path):
    state, arrays = golden("gaprompt_cls")
    torch.save(state, tmp_path / "original.pth")
    model = point_mae()
    pcclora.attach(model, GAPromptConfig(neighbours=neighbours))
    report = pcclora.load_checkpoint(model, tmp_path / "original.pth")
    assert not report.unexpected and not report.missing
    seen = {}
    model.group.register_forward_hook(lambda _, inputs, output: seen.update(cloud=inputs[0], centers=output[1]))
    assert relative(model.eval()(arrays["points"]), arrays[expected]) < TOLERANCE
    assert relative(seen["cloud"][:, -16:], arrays["moved"]) < TOLERANCE
    assert relative(seen["centers"], arrays["centers"]) < TOLERANCE
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 600_487


def test_dapt(golden):
    state, arrays = golden("dapt_cls")
    model = point_mae()
    adapter = pcclora.attach(model, DAPTConfig()).eval()
    load_trunk(model, state)
    places = {"blocks": "tfts_{}_1", "norm": "tfts_{}_2"}
    inside = {
        "/norm1": "tfts_{}_1", "/norm2": "tfts_{}_2", "": "tfts_{}_3", "/attn/qkv": "attn.tfts_{}_1",
        "/attn/proj": "attn.tfts_{}_2", "/mlp/fc1": "mlp.tfts_{}_1", "/mlp/fc2": "mlp.tfts_{}_2",
    }  # fmt: skip
    names = {"norm": "adapter_layer_norm_before", "gate": "scale", "down": "down_proj", "up": "up_proj"}
    own = {}
    for i in range(12):
        places |= {f"blocks/{i}{ours}": f"blocks.blocks.{i}.{theirs}" for ours, theirs in inside.items()}
        for ours, theirs in names.items():
            for leaf in ("weight", "bias"):
                own[f"branches.{i}.{ours}.{leaf}"] = state[f"blocks.blocks.{i}.Adapter_MLP.{theirs}.{leaf}"]
    for kind, theirs in (("scales", "gamma"), ("shifts", "beta")):
        own |= {f"{kind}.{place}": state[key.format(theirs)] for place, key in places.items()}
    fill(adapter, own)
    seen = {}
    model.blocks[11].register_forward_hook(lambda _, __, output: seen.update(tokens=output))
    model.cls_head_finetune.register_forward_hook(lambda _, inputs, __: seen.update(feature=inputs[0]))
    assert relative(model(arrays["points"]), arrays["logits"]) < TOLERANCE
    assert seen["tokens"].shape[1] == 141  # class token, 12 prompts, 128 groups
    assert relative(seen["tokens"][:, ::8], arrays["tokens"]) < TOLERANCE
    assert relative(seen["feature"], arrays["feature"]) < TOLERANCE
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 1_087_771
