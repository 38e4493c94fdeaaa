"""Adapters that stand behind or beside sub-layers: what they add, written out, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pcclora
from pcclora import PccloraError
from pcclora.adapters import (
    Adapter,
    AdapterPlusConfig,
    ConsolidatorConfig,
    ConvpassConfig,
    HoulsbyConfig,
    RepAdapterConfig,
    SequentialAdapterConfig,
)
from tests.adapters.backbones import BACKBONES, fused_vit
from tests.adapters.cases import output

WIDTH_ERROR = "m is 25, and the tokens are 24 wide: a bottleneck is no wider; choose m up to 24"


def moved(config: Any) -> tuple[nn.Module, Adapter, Tensor, Tensor]:
    """A ViT on tokens whose adapter has random numbers, tokens in front of its first block, and what that gives."""
    model, _ = fused_vit()
    adapter = pcclora.attach(model, config).eval()
    tokens = torch.randn(2, 7, 16)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(std=0.3)
    return model, adapter, tokens, output(model.blocks[0], tokens)


def plain(model: nn.Module, index: int = 0) -> Any:
    """A block without an adapter."""
    pcclora.detach(model)
    return model.blocks[index]


def bottleneck(stack: Any, z: Tensor) -> Tensor:
    low = z @ stack.down[0].T + stack.down_bias[0]
    return low * torch.sigmoid(1.702 * low) @ stack.up[0].T + stack.up_bias[0]


@pytest.mark.parametrize("config", [SequentialAdapterConfig(m=3), HoulsbyConfig(m=3)])
def test_adapters_in_sequence_read_what_the_sub_layer_gives(config: SequentialAdapterConfig) -> None:
    model, adapter, x, found = moved(config)
    block, stacks = plain(model), adapter.bottlenecks
    with torch.no_grad():
        attended = block.attn(block.norm1(x))
        if isinstance(config, HoulsbyConfig):
            attended = attended + bottleneck(stacks["attention"], attended)
        u = x + attended
        z = block.mlp(block.norm2(u))
        expected = u + z + bottleneck(stacks["mlp"], z)
    torch.testing.assert_close(found, expected)


def test_the_published_starts_of_adapters() -> None:
    for init, bound in (("xavier", (6 / 20) ** 0.5), ("houlsby", 0.02)):
        model, _ = fused_vit()
        stack = pcclora.attach(model, HoulsbyConfig(m=4, init=init)).bottlenecks["attention"]
        for weight, bias in ((stack.down, stack.down_bias), (stack.up, stack.up_bias)):
            assert 0.8 * bound < weight.abs().max() <= bound
            assert bias.abs().max() < 1e-5 and bool(bias.any()) is (init == "xavier")


def test_adapter_plus_drops_the_branch_of_a_whole_sample_in_training() -> None:
    model, adapter, _, _ = moved(AdapterPlusConfig(m=3, drop_path=0.25))
    x = torch.randn(1, 7, 16).expand(400, -1, -1)
    with pcclora.disabled(model):
        bare = output(model.blocks[0], x)[:1]
    whole = output(model.blocks[0], x)[:1] - bare
    adapter.train()
    branches = output(model.blocks[0], x) - bare
    dropped = (branches == 0).all(dim=(1, 2))
    torch.testing.assert_close(branches[~dropped], (whole / 0.75).expand(int((~dropped).sum()), -1, -1))
    assert 60 < dropped.sum() < 140  # 100 expected, and 8.7 its deviation


@pytest.mark.parametrize("height", [32, 48])
def test_convpass_convolves_the_patches_on_their_grid(height: int) -> None:
    pytest.importorskip("timm")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    model = pcclora.create_model("timm/vit_tiny_patch16_224", num_classes=5, **sizes).eval()
    model.set_input_size((height, 32))
    adapter = pcclora.attach(model, ConvpassConfig(m=3, scale=0.5)).eval()
    seen: list[Tensor] = []
    hook = model.blocks[1].register_forward_hook(lambda _, inputs, found: seen.extend([inputs[0], found]))
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(std=0.3)
    output(model, torch.randn(2, 3, height, 32))
    hook.remove()
    (x, found), block = seen, plain(model, 1)

    def bypass(stack: Any, z: Tensor) -> Tensor:
        low = z @ stack.down[1].T + stack.down_bias[1]
        low = low * torch.sigmoid(1.702 * low)
        parts = []  # the class token, then the patches, each as an image
        for part, grid in ((low[:, :1], (1, 1)), (low[:, 1:], (height // 8, 4))):
            image = part.transpose(1, 2).reshape(len(z), 3, *grid)
            convolved = F.conv2d(image, stack.kernels[1], stack.kernel_bias[1], padding=1)
            parts.append(convolved.flatten(2).transpose(1, 2))
        low = torch.cat(parts, dim=1)
        return 0.5 * (low * torch.sigmoid(1.702 * low) @ stack.up[1].T + stack.up_bias[1])

    with torch.no_grad():
        z = block.norm1(x)
        u = x + block.attn(z) + bypass(adapter.bypasses["attention"], z)
        z = block.norm2(u)
        torch.testing.assert_close(found, u + block.mlp(z) + bypass(adapter.bypasses["mlp"], z))


def test_convpass_needs_every_patch() -> None:
    model, x = BACKBONES["timm_vit"]()
    adapter = pcclora.attach(model, ConvpassConfig(m=3))
    output(model, x)
    with pytest.raises(
        PccloraError, match="'blocks.0.attn' is given 3 patches, and the grid has 2 x 2: Convpass needs"
    ):
        output(model.blocks[0], torch.randn(1, 4, 24))
    assert adapter.seen["grid"] == (2, 2)


def test_consolidator_is_a_grouped_convolution_of_shuffled_channels() -> None:
    model, adapter, _, _ = moved(ConsolidatorConfig(groups=4))
    x = torch.randn(3, 7, 16)
    stack = adapter.groups["16x32"]
    with torch.no_grad():
        shuffled = nn.ChannelShuffle(4)(x.transpose(1, 2)[..., None])[..., 0]
        update = F.conv1d(shuffled, stack.G[1][..., None], stack.h[1], groups=4).transpose(1, 2)
        fc1 = model.blocks[1].mlp.fc1
        torch.testing.assert_close(fc1(x), F.linear(x, fc1.weight, fc1.bias) + update)


def test_consolidator_is_no_lora(tmp_path: Path) -> None:
    model, _ = BACKBONES["point_mae_tiny"]()
    pcclora.attach(model, ConsolidatorConfig(groups=8, modules_to_save=("cls_head_finetune",)))
    with pytest.raises(PccloraError, match="what Consolidator adds is no low-rank product; merge, or save_adapter"):
        pcclora.export_peft(model, tmp_path / "peft")


def test_groups_that_do_not_divide_the_widths_are_refused_with_those_that_would() -> None:
    model, _ = BACKBONES["point_mae_tiny"]()
    for config, message in (
        (
            RepAdapterConfig(m=8, groups=16),
            "groups is 16, which does not divide all of the widths 8, 24; choose of 1, 2, 4, 8",
        ),
        (RepAdapterConfig(m=9, groups=2), "groups is 2, which does not divide all of the widths 9, 24; choose of 1, 3"),
        (ConsolidatorConfig(), "groups is 384, which .* of the widths 24, 72, 96; choose of 1, 2, 3, 4, 6, 8, 12, 24"),
    ):
        with pytest.raises(PccloraError, match=f"{message}$"):
            pcclora.attach(model, config)


def test_a_slice_has_no_input_of_its_own() -> None:
    model, _ = BACKBONES["point_mae_tiny"]()
    with pytest.raises(
        PccloraError, match=r"target 'blocks.0.attn.qkv\[q\]': a slice has no .*; RepAdapter takes whole"
    ):
        pcclora.attach(model, RepAdapterConfig(target_modules=("blocks.*.attn.qkv[q]",)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SequentialAdapterConfig(m=25), WIDTH_ERROR),
        (HoulsbyConfig(m=25), WIDTH_ERROR),
        (AdapterPlusConfig(m=25), WIDTH_ERROR),
        (pcclora.adapters.AdaptFormerConfig(m=25), WIDTH_ERROR),
    ],
)
def test_a_bottleneck_wider_than_a_token_is_refused(config: Any, message: str) -> None:
    model, _ = BACKBONES["point_mae_tiny"]()
    with pytest.raises(PccloraError, match=message):
        pcclora.attach(model, config)
    assert not hasattr(model, "adapters")


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (SequentialAdapterConfig, {"m": 0}, "m is 0, at least 1"),
        (AdapterPlusConfig, {"m": 0}, "m is 0, at least 1"),
        (AdapterPlusConfig, {"drop_path": 1.0}, r"drop_path is 1.0, in \[0, 1\)"),
        (RepAdapterConfig, {"groups": 0}, "m is 8 and groups 0, at least 1"),
        (RepAdapterConfig, {"scale": float("nan")}, "scale is nan, finite"),
        (ConsolidatorConfig, {"groups": 0}, "groups is 0, at least 1"),
        (ConsolidatorConfig, {"drop_path": -0.1}, r"drop_path is -0.1, in \[0, 1\)"),
        (ConvpassConfig, {"dropout": 1.0}, r"dropout is 1.0, in \[0, 1\)"),
        (ConvpassConfig, {"init": "none"}, "init is 'none'; it is identity or xavier"),
        (HoulsbyConfig, {"init": "none"}, "init is 'none', one of zero, xavier, houlsby"),
    ],
)
def test_values_without_a_meaning_are_refused(config: type, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PccloraError, match=message):
        config(**options)
