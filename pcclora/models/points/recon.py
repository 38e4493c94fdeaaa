"""ReCon, as published (``recon``) and as parameter-efficient methods use its weights (``recon_plain``).

Qi et al., Contrast with Reconstruct (ICML 2023, arXiv 2302.02318). The two are different functions of one file:

* ``recon``: three learnt tokens (class, image, text) attend to the patches through a branch of their own, the patches
  never see them, and the residual is taken on the *normalised* stream: ``x = norm(x); x = x + f(x)``. The head reads
  the three tokens and the max of the patches (4 C). Logits equal the original's to 1e-4 relative in float32.
* ``recon_plain``: the patches' weights in an ordinary pre-norm block, image and text token and the contrast branch
  left out, Point-MAE's head (2 C). So load it IDPT, DAPT, PPT and PointGST.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.models.backbone import CLS_TOKENS
from pcclora.models.points.heads import point_mae_head
from pcclora.models.points.part_segmentation import PointMAEPartSegmenter, tapped
from pcclora.models.points.point_mae import PointMAE
from pcclora.models.points.transformer import Block, Mlp, Transformer, token_parameter
from pcclora.models.points.trunk import TOKEN_PLACES, PointMAEConfig
from pcclora.models.register import register_model

TOKENS = 3  # class, image, text


@dataclass
class ReConConfig(PointMAEConfig):
    """ReCon as published."""

    drop_path_rate: float = 0.2


@dataclass
class ReConPlainConfig(PointMAEConfig):
    """ReCon's weights in an ordinary pre-norm transformer."""


class CrossAttention(nn.Module):
    """Attention of the learnt tokens to the patches.

    Args:
        dim: Width C of a token.
        heads: Number of heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, patches: Tensor) -> Tensor:
        """Map tokens x (B, T, C), which look at patches (B, G, C), to (B, T, C)."""
        B, T, C = x.shape
        q = self.q(x).reshape(B, T, self.heads, -1).transpose(1, 2)
        k, v = self.kv(patches).reshape(B, -1, 2, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)  # (B, heads, T, C / heads)
        mixed: Tensor = self.proj(out.transpose(1, 2).reshape(B, T, C))
        return mixed


class ReConBlock(Block):
    """Two streams in one sequence: the first three tokens look at the patches, the patches at themselves."""

    def __init__(self, dim: int, heads: int, *, drop_path: float = 0.0) -> None:
        super().__init__(dim, heads, drop_path=drop_path)
        self.norm1_contrast = nn.LayerNorm(dim)
        self.norm2_contrast = nn.LayerNorm(dim)
        self.mlp_contrast = Mlp(dim)
        self.attn_contrast = CrossAttention(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, 3 + G, C) to the same shape."""
        tokens, patches = self.norm1_contrast(x[:, :TOKENS]), self.norm1(x[:, TOKENS:])
        tokens = tokens + self.drop_path(self.attn_contrast(tokens, patches))
        patches = patches + self.drop_path(self.attn(patches))
        tokens, patches = self.norm2_contrast(tokens), self.norm2(patches)
        tokens = tokens + self.drop_path(self.mlp_contrast(tokens))
        patches = patches + self.drop_path(self.mlp(patches))
        return torch.cat([tokens, patches], dim=1)


def two_streams(config: PointMAEConfig) -> Transformer:
    """Return the blocks that have a contrast branch."""
    rate = config.drop_path_rate
    return Transformer(config.dim, depth=config.depth, heads=config.heads, drop_path_rate=rate, block=ReConBlock)


class ReCon(PointMAE):
    """ReCon's classifier as published.

    Args:
        config: Its widths.
        num_classes: Number of classes.
    """

    families: ClassVar[tuple[str, ...]] = ("ReCon",)
    fresh_tokens: ClassVar[tuple[str, ...]] = ()
    # inside a block the learnt tokens have a branch of their own: no sub-layer sees all tokens
    places: Mapping[str, str] = MappingProxyType(
        {**TOKEN_PLACES, **{role: PointMAE.places[role] for role in ("block", "tokens", "norm", "head")}}
    )
    prefix_tokens = TOKENS

    def __init__(self, config: ReConConfig, *, num_classes: int) -> None:
        super().__init__(config, num_classes=num_classes, transformer=two_streams(config))
        self.img_token, self.img_pos = token_parameter(config.dim), token_parameter(config.dim)
        self.text_token, self.text_pos = token_parameter(config.dim), token_parameter(config.dim)

    def make_head(self, config: PointMAEConfig, num_classes: int) -> nn.Sequential:
        """Return the classification head."""
        return point_mae_head((TOKENS + 1) * config.dim, num_classes, dropout=config.head_dropout)

    def attend(self, tokens: Tensor, centers: Tensor) -> Tensor:
        """Map the groups' tokens (B, G, C) and centres (B, G, 3) to what the head reads (B, 4 C)."""
        x = self.encode(
            tokens,
            centers,
            prefix=(self.cls_token, self.img_token, self.text_token),
            positions=(self.cls_pos, self.img_pos, self.text_pos),
        )
        return torch.cat([x[:, :TOKENS].flatten(1), x[:, TOKENS:].max(dim=1).values], dim=-1)


class ReConPlain(PointMAE):
    """Point-MAE's classifier for ReCon's weights; a file must have the class token and its position."""

    families: ClassVar[tuple[str, ...]] = ("ReCon",)
    fresh_tokens: ClassVar[tuple[str, ...]] = ()


class ReConPartSegmenter(PointMAEPartSegmenter):
    """ReCon's part segmentation network: Point-MAE's, which also reads the max of the three tokens, unnormalised.

    Its log-probabilities were compared with those of the original code, random weights on both sides: equal to 1e-6.

    Args:
        config: Its widths.
        num_parts: Number of parts.
        num_categories: Number of categories.
    """

    families: ClassVar[tuple[str, ...]] = ("ReCon",)
    places: Mapping[str, str] = MappingProxyType(
        {**TOKEN_PLACES, **{role: PointMAE.places[role] for role in ("block", "tokens")}}
    )
    prefix_tokens = TOKENS
    modules_to_save = (*PointMAEPartSegmenter.head_names, *CLS_TOKENS)

    def __init__(self, config: ReConConfig, *, num_parts: int, num_categories: int) -> None:
        counts = {"num_parts": num_parts, "num_categories": num_categories}
        super().__init__(config, **counts, transformer=two_streams(config), extra=config.dim)
        self.cls_token, self.cls_pos = token_parameter(config.dim), token_parameter(config.dim)
        self.img_token, self.img_pos = token_parameter(config.dim), token_parameter(config.dim)
        self.text_token, self.text_pos = token_parameter(config.dim), token_parameter(config.dim)

    def read(self, x: Tensor, position: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the groups' tokens (B, G, C) after three blocks, and what the others make of the cloud (B, C)."""
        tokens = torch.cat([self.cls_token, self.img_token, self.text_token], dim=1).expand(x.shape[0], -1, -1)
        positions = torch.cat([self.cls_pos, self.img_pos, self.text_pos], dim=1).expand(x.shape[0], -1, -1)
        x, position = torch.cat([tokens, x], dim=1), torch.cat([positions, position], dim=1)
        outputs = self.blocks(x, position, read=tapped(len(self.blocks)))
        return [output[:, TOKENS:] for output in outputs], [outputs[-1][:, :TOKENS].max(dim=1).values]


class ReConPlainPartSegmenter(PointMAEPartSegmenter):
    """Point-MAE's part segmentation network for ReCon's weights."""

    families: ClassVar[tuple[str, ...]] = ("ReCon",)


# arXiv 2302.02318 as published: 43.6 M parameters, 322 keys; parts 48.5 M, 342
register_model("recon", config=ReConConfig, heads={"cls": ReCon, "partseg": ReConPartSegmenter})
# its weights as parameter-efficient methods use them: 22.1 M parameters, 174 keys; parts 27.1 M, 192
register_model("recon_plain", config=ReConPlainConfig, heads={"cls": ReConPlain, "partseg": ReConPlainPartSegmenter})
