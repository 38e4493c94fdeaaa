"""Models small enough to train in milliseconds, each with a fixed input: what every adapter promise is tried on.

``mlp`` is plain and has a BatchNorm in its frozen part; ``fused_vit`` is a ViT on tokens with one in its head;
``point_mae_tiny`` and ``part_segmenter``, which has no class token, take points; ``timm_vit`` and ``timm_split_vit``
take images: a ViT and an EVA-02, whose q, k and v are three maps, of timm's own making. All are float32, in eval mode,
and the same on every call.
"""

from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.models import create_model
from pcclora.models.points.part_segmentation import PointMAEPartSegmenter
from pcclora.models.points.trunk import PointMAEConfig

DIM, HEADS, TOKENS, CLASSES = 16, 2, 6, 5
POINT_SIZES = {"dim": 24, "depth": 2, "heads": 3, "num_groups": 8, "group_size": 6, "encoder_widths": (6, 8, 10)}
PART_SIZES = {"label_dim": 4, "part_widths": (12, 10, 8, 6)}
POINT_BERT_PARTS = {"part_widths": (12, 8, 6), "part_levels": (16, 12)}
IMAGE_SIZES = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 3}


class MeanPart(PointMAEPartSegmenter):
    """A part segmenter that answers for the mean of a cloud's points; the first of them tells the category."""

    def forward(self, points: Tensor) -> Tensor:
        """Map clouds (B, N, 3) to logits (B, CLASSES)."""
        return super().forward(points, (points[:, 0, 0] > 0).long()).mean(dim=1)


class FusedAttention(nn.Module):
    """q, k and v from one linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.proj = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(attend(*self.qkv(x).chunk(3, dim=-1)))


class Mlp(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(DIM, 2 * DIM), nn.Linear(2 * DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """One transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(DIM), FusedAttention()
        self.norm2, self.mlp = nn.LayerNorm(DIM), Mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer on tokens: class token, blocks, head with a BatchNorm of its own."""

    modules_to_save = ("head", "cls_token")
    prefix_tokens = 1
    places: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("block", "tokens"), "blocks.*"),
        **{"attention": "blocks.*.attn", "attention_norm": "blocks.*.norm1"},
        **{"mlp": "blocks.*.mlp", "mlp_norm": "blocks.*.norm2", "norm": "norm", "head": "head"},
    }

    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, DIM))
        self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Sequential(nn.BatchNorm1d(DIM), nn.Linear(DIM, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, DIM) to logits (B, CLASSES)."""
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        return self.head(self.norm(self.blocks(x))[:, 0])


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over tokens (B, T, DIM) in HEADS heads."""
    q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def mlp() -> tuple[nn.Module, Tensor]:
    """A plain nn.Sequential (fc1, norm, act, fc2, head) that declares no modules_to_save, and an input (B, 8)."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(8, 16))
    model.add_module("norm", nn.BatchNorm1d(16))
    model.add_module("act", nn.GELU())
    model.add_module("fc2", nn.Linear(16, 16))
    model.add_module("head", nn.Linear(16, CLASSES))
    return _settled(model), torch.randn(4, 8)


def fused_vit() -> tuple[nn.Module, Tensor]:
    """A ViT with a fused qkv, and an input (B, T, DIM)."""
    torch.manual_seed(1)
    return _settled(ViT()), torch.randn(4, TOKENS, DIM)


def point_transformer(name: str, task: str = "cls") -> tuple[nn.Module, Tensor]:
    """A classifier or part segmenter of ours, still smaller than its smallest, and points (B, N, 3)."""
    torch.manual_seed(3)
    sizes = POINT_SIZES
    if task == "cls":
        outputs = {"num_classes": CLASSES}
    else:
        outputs = {"num_parts": CLASSES, "num_categories": 3}
        sizes = sizes | (POINT_BERT_PARTS if name == "point_bert" else PART_SIZES)
    model = create_model(name, task=task, **outputs, **sizes)
    return _settled(model), torch.randn(4, 32, 3)


def point_mae_tiny() -> tuple[nn.Module, Tensor]:
    """Point-MAE, and points (B, N, 3)."""
    return point_transformer("point_mae_tiny")


def part_segmenter() -> tuple[nn.Module, Tensor]:
    """Point-MAE's part segmenter, and points (B, N, 3)."""
    torch.manual_seed(6)
    model = MeanPart(PointMAEConfig(**POINT_SIZES, **PART_SIZES), num_parts=CLASSES, num_categories=2)
    return _settled(model), torch.randn(4, 32, 3)


def timm_vit() -> tuple[nn.Module, Tensor]:
    """timm's vit_tiny, smaller still, and images (B, 3, H, W)."""
    return image_transformer("vit_tiny_patch16_224", seed=4)


def timm_split_vit() -> tuple[nn.Module, Tensor]:
    """timm's eva02_base with its separate q, k and v and its SwiGLU, much smaller, and images (B, 3, H, W)."""
    return image_transformer("eva02_base_patch16_clip_224", seed=5)


def image_transformer(name: str, *, seed: int) -> tuple[nn.Module, Tensor]:
    """A classifier of timm's, and images (B, 3, H, W)."""
    pytest.importorskip("timm", reason="timm is not installed (pip install pcclora[image])")
    torch.manual_seed(seed)
    return _settled(create_model(f"timm/{name}", num_classes=CLASSES, **IMAGE_SIZES)), torch.randn(4, 3, 32, 32)


def bare_vit() -> nn.Module:
    """The ViT of ``timm_vit`` as timm makes it, without anything of ours: what a user of peft has."""
    timm = pytest.importorskip("timm", reason="timm is not installed (pip install pcclora[image])")
    torch.manual_seed(4)
    return _settled(timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, **IMAGE_SIZES))


BACKBONES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "mlp": mlp,
    "fused_vit": fused_vit,
    "point_mae_tiny": point_mae_tiny,
    "part_segmenter": part_segmenter,
    "timm_vit": timm_vit,
    "timm_split_vit": timm_split_vit,
}


def _settled(model: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics that are not those of a new one, so that eval and train mode differ."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()
