"""Point-MAE's classifier: 384 x 12 x 6 heads on 64 groups of 32 points.

Pang et al., Masked Autoencoders for Point Cloud Self-supervised Learning (ECCV 2022, arXiv 2203.06604). In eval mode
the logits equal the original's to 1e-4 relative in float32 (tests/models/points/test_goldens.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from pcclora.models.backbone import CLS_TOKENS, TokenClassifier
from pcclora.models.checkpoints.keys import HEAD
from pcclora.models.points.heads import point_mae_head
from pcclora.models.points.masked_autoencoder import PointMAEPretrain
from pcclora.models.points.part_segmentation import PointMAEPartSegmenter
from pcclora.models.points.transformer import Transformer, token_parameter
from pcclora.models.points.trunk import BLOCK_PLACES, TOKEN_PLACES, PointMAEConfig, Trunk
from pcclora.models.register import register_model


@dataclass
class PointMAETinyConfig(PointMAEConfig):
    """Point-MAE small enough to train on a CPU in minutes; its pre-trained weights come with the package."""

    dim: int = 96
    depth: int = 6
    heads: int = 3
    num_groups: int = 32
    encoder_widths: tuple[int, ...] = (32, 64, 128)
    drop_path_rate: float = 0.0
    head_dropout: float = 0.1
    label_dim: int = 16
    part_widths: tuple[int, ...] = (192, 128, 128, 64)
    decoder_depth: int = 2


class PointMAE(Trunk, TokenClassifier):
    """Classifier: the trunk, a class token with a position of its own, and a head on [class token, max of the others].

    Args:
        config: Its widths.
        num_classes: Number of classes.
        transformer: The blocks, if not the ordinary ones.
    """

    families: ClassVar[tuple[str, ...]] = ("Point-MAE",)
    fresh_tokens: ClassVar[tuple[str, ...]] = CLS_TOKENS
    places: Mapping[str, str] = MappingProxyType({**TOKEN_PLACES, **BLOCK_PLACES, "norm": "norm", "head": HEAD})
    prefix_tokens = 1

    def __init__(self, config: PointMAEConfig, *, num_classes: int, transformer: Transformer | None = None) -> None:
        super().__init__(config, transformer=transformer)
        self.num_classes = num_classes
        self.cls_token = token_parameter(config.dim)
        self.cls_pos = token_parameter(config.dim)
        # torch's own initialisation, as the original's head has whenever the trunk is pre-trained
        self.cls_head_finetune = self.make_head(config, num_classes)

    def make_head(self, config: PointMAEConfig, num_classes: int) -> nn.Sequential:
        """Return the classification head."""
        return point_mae_head(2 * config.dim, num_classes, dropout=config.head_dropout)

    def forward(self, points: Tensor) -> Tensor:
        """Map clouds (B, N, 3) to logits (B, num_classes)."""
        return self.classify(self.features(points))

    def attend(self, tokens: Tensor, centers: Tensor) -> Tensor:
        """Map the groups' tokens (B, G, C) and centres (B, G, 3) to what the head reads (B, 2 C)."""
        x = self.encode(tokens, centers, prefix=(self.cls_token,), positions=(self.cls_pos,))
        return torch.cat([x[:, 0], x[:, 1:].max(dim=1).values], dim=-1)

    def pretrained(self, features: Tensor) -> Tensor:
        """Return the max of the groups' tokens alone where the class token starts from random numbers."""
        return features[:, self.config.dim * ("cls_token" in self.fresh_tokens) :]

    def encode(
        self, tokens: Tensor, centers: Tensor, *, prefix: tuple[Tensor, ...], positions: tuple[Tensor, ...]
    ) -> Tensor:
        """Return the normalised output tokens (B, T, C) of learnt tokens (1, 1, C) with theirs, and of the groups."""
        B = tokens.shape[0]
        x = torch.cat([*(token.expand(B, -1, -1) for token in prefix), tokens], dim=1)
        position = torch.cat([*(p.expand(B, -1, -1) for p in positions), self.pos_embed(centers)], dim=1)
        (x,) = self.blocks(x, position)
        normalised: Tensor = self.norm(x)
        return normalised


HEADS = {"cls": PointMAE, "partseg": PointMAEPartSegmenter, "pretrain": PointMAEPretrain}
# arXiv 2203.06604: 22.1 M parameters, 174 keys; parts 27.1 M, 192; pre-training 29.0 M, 209
register_model("point_mae", config=PointMAEConfig, heads=HEADS)
# for a CPU; its pre-trained weights come with the package
register_model("point_mae_tiny", config=PointMAETinyConfig, heads=HEADS)
