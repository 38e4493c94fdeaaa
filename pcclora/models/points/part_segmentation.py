"""Point-MAE's part segmentation network: a part for every point, given the category of the object.

Pang et al., Point-MAE (ECCV 2022, arXiv 2203.06604). Three blocks at a third, two thirds and the whole of the depth
give what is known of the centres (3 C); its max and mean over the centres and a code of the category are what is known
of the cloud; both reach a point through the propagation of the centres' features. In eval mode the log-softmax of the
logits equals the original's to 1e-4 in float32.

The originals repeat what is known of the cloud at every point: 2,368 of the 3,392 channels of ``convs1``. Here it
passes through its layer once (:class:`~pcclora.models.points.pointwise.PointwiseConv`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import CHANNELS, Backbone
from pcclora.models.points.pointwise import PointwiseConv
from pcclora.models.points.propagation import FeaturePropagation
from pcclora.models.points.transformer import Transformer
from pcclora.models.points.trunk import BLOCK_PLACES, TOKEN_PLACES, PointMAEConfig, Trunk


class Encoded(NamedTuple):
    """What the trunk knows of a batch of clouds, enough to label any point of them.

    Attributes:
        points: (B, G, 3), where features are known.
        features: (B, G, C) there.
        code: (B, D) of the cloud as a whole.
    """

    points: Tensor
    features: Tensor
    code: Tensor


class PartSegmenter(Backbone, ABC):
    """Base of the part segmenters: ``model(points (B, N, 3), category (B,)) -> logits (B, N, num_parts)``.

    The logits are of all parts; those that the category does not have are for the caller to leave out.

    Attributes:
        num_parts: Number of parts P, of all categories together.
        num_categories: Number of categories.
    """

    task = "partseg"
    num_parts: int
    num_categories: int

    def forward(self, points: Tensor, category: Tensor, *, query: Tensor | None = None) -> Tensor:
        """Return the logits of every point of the clouds, or of ``query``.

        Args:
            points: Clouds (B, N, 3).
            category: (B,) int64.
            query: (B, M, 3), any other points of the same objects, as those that sampling left out.

        Returns:
            (B, N, P), or (B, M, P).

        Raises:
            PccloraError: If a shape does not fit, or a category is out of range.
        """
        return self.decode(self.encode(points, category), points[..., :3] if query is None else query)

    @abstractmethod
    def encode(self, points: Tensor, category: Tensor) -> Encoded:
        """Run the trunk, once, on clouds (B, N, 3) of categories (B,)."""

    @abstractmethod
    def decode(self, encoded: Encoded, query: Tensor) -> Tensor:
        """Return the logits (B, M, P) of any points (B, M, 3): each depends on ``encoded`` and itself alone."""

    def one_hot(self, points: Tensor, category: Tensor) -> Tensor:
        """Return the categories (B,) of clouds as (B, num_categories) of the points' dtype.

        Raises:
            PccloraError: If there is not one a cloud, or on a CPU if one is out of range.
        """
        if category.shape != points.shape[:1] or category.is_floating_point():
            raise PccloraError(
                f"category is {category.dtype} {tuple(category.shape)}; an integer for each of the {len(points)} clouds"
            )
        on_cpu = category.device.type == "cpu" and not torch.compiler.is_exporting()  # a graph cannot look
        if on_cpu and not 0 <= int(category.min()) <= int(category.max()) < self.num_categories:
            raise PccloraError(f"category {category.tolist()}: the model has 0..{self.num_categories - 1}")
        return F.one_hot(category.long(), self.num_categories).to(points.dtype)


class PointMAEPartSegmenter(Trunk, PartSegmenter):
    """Point-MAE's part segmentation network.

    Args:
        config: Its widths.
        num_parts: Number of parts P.
        num_categories: Number of categories.
        transformer: The blocks, if not the ordinary ones.
        extra: Width of what :meth:`read` gives of the cloud beside the centres.
    """

    head_names: tuple[str, ...] = ("label_conv", "propagation_0", "convs1", "bns1", "convs2", "bns2", "convs3")
    families: ClassVar[tuple[str, ...]] = ("Point-MAE",)
    places: Mapping[str, str] = MappingProxyType({**TOKEN_PLACES, **BLOCK_PLACES})  # the norm reads three blocks
    modules_to_save = head_names
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"tokenizer": ("encoder", "reduce_dim", CHANNELS), "head": head_names}

    def __init__(
        self,
        config: PointMAEConfig,
        *,
        num_parts: int,
        num_categories: int,
        transformer: Transformer | None = None,
        extra: int = 0,
    ) -> None:
        super().__init__(config, transformer=transformer)
        self.num_parts, self.num_categories = num_parts, num_categories
        known, (hidden, local, *widths) = 3 * config.dim, config.part_widths
        # torch's own initialisation, as the original's head has
        self.label_conv = nn.Sequential(
            nn.Conv1d(num_categories, config.label_dim, 1, bias=False),
            nn.BatchNorm1d(config.label_dim),
            nn.LeakyReLU(0.2),
        )
        self.propagation_0 = FeaturePropagation(known, (hidden, local))
        self.convs1 = PointwiseConv(local + 2 * known + extra + config.label_dim, widths[0])
        self.bns1 = nn.BatchNorm1d(widths[0])
        self.dropout = nn.Dropout(config.head_dropout)
        self.convs2 = PointwiseConv(widths[0], widths[1])
        self.bns2 = nn.BatchNorm1d(widths[1])
        self.convs3 = PointwiseConv(widths[1], num_parts)

    def encode(self, points: Tensor, category: Tensor) -> Encoded:
        """Run the trunk, once, on clouds (B, N, 3) of categories (B,)."""
        label = self.label_conv(self.one_hot(points, category).unsqueeze(2)).squeeze(2)
        tokens, centers = self.tokenize(points)
        outputs, extra = self.read(tokens, self.pos_embed(centers))
        known = torch.cat([self.norm(output) for output in outputs], dim=2)
        code = torch.cat([known.max(dim=1).values, known.mean(dim=1), *extra, label], dim=1)
        return Encoded(centers, known, code)

    def read(self, x: Tensor, position: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the groups' tokens (B, G, C) after three blocks, and what else is known of the cloud, each (B, ...).

        Args:
            x: The groups' tokens (B, G, C).
            position: Their positions (B, G, C).
        """
        return self.blocks(x, position, read=tapped(len(self.blocks))), []

    def decode(self, encoded: Encoded, query: Tensor) -> Tensor:
        """Return the logits (B, M, P) of any points (B, M, 3): each depends on ``encoded`` and itself alone."""
        x = self.propagation_0(query, encoded.points, encoded.features)
        x = self.dropout(self.convs1(x, encoded.code, self.bns1))
        logits: Tensor = self.convs3(self.convs2(x, None, self.bns2))
        return logits


def tapped(depth: int) -> list[int]:
    """Return which blocks part segmentation reads: 3, 7, 11 of 12; 1, 3, 5 of 6."""
    return [math.ceil(depth * third / 3) - 1 for third in (1, 2, 3)]
