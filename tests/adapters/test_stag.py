"""STAG: its formula written down plainly, where gradients end, and what it refuses."""

import re

import pytest
import torch
from torch import Tensor, nn

import pcclora
from pcclora import PccloraError
from pcclora.adapters import STAGConfig
from pcclora.studies.fewshot.features import constant_stage
from tests.adapters.backbones import point_mae_tiny
from tests.adapters.cases import output, train

SIZES = {"dim": 24, "heads": 3, "num_groups": 8, "group_size": 6, "encoder_widths": (6, 8, 10), "depth": 8}


def deep() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return pcclora.create_model("point_mae_tiny", num_classes=5, **SIZES).eval(), torch.randn(2, 32, 3)


def plain(model: nn.Module, x: Tensor, *, start: int, share: int) -> Tensor:
    """One cloud and one centre at a time."""
    net, logits = model.adapters["default"], []
    for cloud in x:
        tokens, centers = model.tokenize(cloud[None])
        tokens = torch.cat([model.cls_token[0], tokens[0]])
        position = torch.cat([model.cls_pos[0], nn.Sequential.forward(model.pos_embed, centers)[0]])
        distance = (centers[0][:, None] - centers[0][None]).square().sum(-1)
        nearest = [row.sort(stable=True).indices[:3] for row in distance]
        R = torch.zeros(8, 6)
        for i, block in enumerate(model.blocks):
            R = R + net.downs[i // share](tokens[1:])
            tokens = block.forward((tokens + position)[None])[0]
            if i >= start:
                layer = net.graphs[(i - start) // share]
                edges = [layer.own(R[j]) + layer.near(R[near]) for j, near in enumerate(nearest)]
                R = torch.stack([layer.out(edge.max(dim=0).values) for edge in edges])
                t = layer.up(R).clamp(min=0)
                tokens = tokens + torch.cat([t.mean(dim=0, keepdim=True), t])
        logits.append(nn.Sequential.forward(model.cls_head_finetune, tokens.mean(dim=0)[None]))
    return torch.cat(logits)


@pytest.mark.parametrize(("variant", "start", "share"), [("std", 4, 8), ("sl", 2, 2)])
def test_it_is_the_formula(variant: str, start: int, share: int) -> None:
    model, x = deep()
    adapter = pcclora.attach(model, STAGConfig(h=6, k=3, variant=variant))
    train(model, adapter, x, steps=2)
    with torch.no_grad():
        torch.testing.assert_close(output(model, x), plain(model, x, start=start, share=share), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("variant", "first"), [("std", 4), ("sl", 2)])
def test_no_gradient_enters_the_blocks_before_the_graph(variant: str, first: int) -> None:
    model, x = deep()
    pcclora.attach(model, STAGConfig(h=6, k=3, variant=variant))
    attention, blocks = [], []
    for block in model.blocks:
        block.attn.register_forward_hook(lambda _, __, out: attention.append(out.requires_grad))
        block.register_forward_hook(lambda _, __, out: blocks.append(out.requires_grad))
    model.train()(x)
    assert blocks == [i >= first for i in range(8)]  # behind the block: what the graph adds has one
    assert attention == [i > first for i in range(8)]


def test_head_alone_trains_of_the_model_and_tokens_can_be_kept() -> None:
    model, x = point_mae_tiny()
    adapter = pcclora.attach(model, STAGConfig(h=6))
    assert adapter.modules_to_save == ("cls_head_finetune",)
    assert not model.cls_token.requires_grad and not model.cls_pos.requires_grad
    assert model.cls_head_finetune[0].weight.shape[1] == 24
    assert constant_stage(model, x[:1]) == "tokens"


@pytest.mark.parametrize(("variant", "count"), [("std", 428_431), ("sl", 1_020_751)])
def test_what_trains_in_point_mae_is_as_published(variant: str, count: int) -> None:
    model = pcclora.create_model("point_mae", num_classes=15)
    pcclora.attach(model, STAGConfig(variant=variant))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("variant", ["std", "sl"])
def test_any_depth_has_a_graph_and_no_dead_maps(variant: str, depth: int) -> None:
    torch.manual_seed(0)
    model = pcclora.create_model("point_mae_tiny", num_classes=5, **{**SIZES, "depth": depth})
    adapter = pcclora.attach(model, STAGConfig(h=6, k=30, variant=variant))
    model(torch.randn(3, 32, 3)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in adapter.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"h": 0}, "h is 0 and k is 8"), ({"k": 0}, "h is 192 and k is 0"), ({"variant": "xl"}, "variant is 'xl'; use")],
)
def test_settings_without_meaning_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(PccloraError, match=re.escape(f"stag: {message}")):
        STAGConfig(**wrong)
