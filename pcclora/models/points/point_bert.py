"""Point-BERT: Point-MAE's trunk with a 256-wide mini-PointNet and ``reduce_dim``; heads of its own.

Yu et al., Point-BERT: Pre-training 3D Point Cloud Transformers with Masked Point Modeling (CVPR 2022, arXiv
2111.14819). In eval mode the logits equal the original's to 1e-4 relative in float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import CHANNELS, CLS_TOKENS
from pcclora.models.points.heads import point_bert_head
from pcclora.models.points.part_segmentation import Encoded, PartSegmenter, tapped
from pcclora.models.points.point_mae import PointMAE
from pcclora.models.points.pointwise import PointwiseConv
from pcclora.models.points.propagation import FeaturePropagation
from pcclora.models.points.transformer import token_parameter
from pcclora.models.points.trunk import BLOCK_PLACES, TOKEN_PLACES, PointMAEConfig, Trunk
from pcclora.models.points.upsampling import NORM_GROUPS, Upsampling
from pcclora.models.register import register_model
from pcclora.ops import sample_farthest_points


@dataclass
class PointBERTConfig(PointMAEConfig):
    """Point-BERT; the released ScanObjectNN files have 40 outputs for its 15 classes: load them with num_classes=40.

    Args:
        encoder_dim: Output width of the mini-PointNet.
        part_widths: Widths inside the part-segmentation head: of the propagations, of the upsamplings, and before the
            logits. Its code of the category is one-hot; ``label_dim`` is not used.
        part_levels: How many points the two upsamplings end at, the last first.
    """

    encoder_dim: int | None = 256
    part_widths: tuple[int, ...] = (1536, 512, 128)
    part_levels: tuple[int, ...] = (512, 256)

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        self.part_levels = tuple(self.part_levels)
        if len(self.part_levels) != 2 or not 1 <= self.part_levels[1] <= self.part_levels[0]:
            raise PccloraError(f"part_levels is {self.part_levels}; two numbers of points, descending, are expected")
        for name, width in (("dim", self.dim), ("part_widths[1]", self.part_widths[1])):
            if width % NORM_GROUPS:
                raise PccloraError(f"{name} is {width}; a multiple of {NORM_GROUPS} is expected")


class PointBERT(PointMAE):
    """Classifier; class token and position are pre-trained, so a file must have them."""

    families: ClassVar[tuple[str, ...]] = ("Point-BERT",)
    fresh_tokens: ClassVar[tuple[str, ...]] = ()
    places: Mapping[str, str] = MappingProxyType({**PointMAE.places, "reduction": "reduce_dim"})

    def make_head(self, config: PointMAEConfig, num_classes: int) -> nn.Sequential:
        """Return the classification head."""
        return point_bert_head(2 * config.dim, num_classes, dropout=config.head_dropout)


class PointBERTPartSegmenter(Trunk, PartSegmenter):
    """Point-BERT's part segmentation network: up from the centres to any points, over two levels of more points.

    Args:
        config: Its widths.
        num_parts: Number of parts P.
        num_categories: Number of categories.
    """

    head_names: tuple[str, ...] = (
        *(f"propagation_{level}" for level in (2, 1, 0)),
        *("dgcnn_pro_1", "dgcnn_pro_2", "conv1", "bn1", "conv2"),
    )
    families: ClassVar[tuple[str, ...]] = ("Point-BERT",)
    places: Mapping[str, str] = MappingProxyType(
        {**TOKEN_PLACES, "reduction": "reduce_dim", **BLOCK_PLACES}
    )  # the norm reads three blocks
    prefix_tokens = 1
    modules_to_save = (*head_names, *CLS_TOKENS)
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"tokenizer": ("encoder", "reduce_dim", CHANNELS), "head": head_names}

    def __init__(self, config: PointBERTConfig, *, num_parts: int, num_categories: int) -> None:
        super().__init__(config)
        self.num_parts, self.num_categories, self.levels = num_parts, num_categories, config.part_levels
        dim, (hidden, between, last) = config.dim, config.part_widths
        self.cls_token = token_parameter(dim)
        self.cls_pos = token_parameter(dim)
        self.propagation_2 = FeaturePropagation(dim, (hidden, dim))
        self.propagation_1 = FeaturePropagation(dim, (hidden, dim))
        self.propagation_0 = FeaturePropagation(dim, (hidden, dim), code=num_categories)
        self.dgcnn_pro_1 = Upsampling(dim, between)
        self.dgcnn_pro_2 = Upsampling(dim, between)
        self.conv1 = PointwiseConv(dim, last)
        self.bn1 = nn.BatchNorm1d(last)
        self.dropout = nn.Dropout(config.head_dropout)
        self.conv2 = PointwiseConv(last, num_parts)

    def encode(self, points: Tensor, category: Tensor) -> Encoded:
        """Run the trunk and both upsamplings, once, on clouds (B, N, 3) of categories (B,)."""
        code = self.one_hot(points, category)
        tokens, centers = self.tokenize(points)
        early, middle, late = self._read(tokens, centers)
        fine, coarse = self._levels(points[..., :3])
        known = self.propagation_2(coarse, centers, middle)
        known = self.dgcnn_pro_2(coarse, known, centers, late)
        known = self.dgcnn_pro_1(fine, self.propagation_1(fine, centers, early), coarse, known)
        return Encoded(fine, known, code)

    def decode(self, encoded: Encoded, query: Tensor) -> Tensor:
        """Return the logits (B, M, P) of any points (B, M, 3): each depends on ``encoded`` and itself alone."""
        x = self.propagation_0(query, *encoded)
        logits: Tensor = self.conv2(self.dropout(self.conv1(x, None, self.bn1)))
        return logits

    def _read(self, tokens: Tensor, centers: Tensor) -> list[Tensor]:
        """Return what three blocks know of the centres, (B, G, C) each; the class token only takes part."""
        B = centers.shape[0]
        x = torch.cat([self.cls_token.expand(B, -1, -1), tokens], dim=1)
        position = torch.cat([self.cls_pos.expand(B, -1, -1), self.pos_embed(centers)], dim=1)
        outputs = self.blocks(x, position, read=tapped(len(self.blocks)))
        return [self.norm(output)[:, 1:] for output in outputs]

    def _levels(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points of both levels; of farthest points the first are those of a smaller sample."""
        fine, _ = sample_farthest_points(points, K=self.levels[0], skip_near_origin=self.config.skip_near_origin)
        return fine, fine[:, : self.levels[1]]


# arXiv 2111.14819: 22.1 M parameters, 164 keys; parts 27.1 M, 223
register_model("point_bert", config=PointBERTConfig, heads={"cls": PointBERT, "partseg": PointBERTPartSegmenter})
