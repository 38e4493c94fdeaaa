"""Point-BERT's upsampling: two edge convolutions, from few points to more, then among those.

Wang et al., DGCNN (TOG 2019, arXiv 1801.07829); Yu et al., PoinTr (ICCV 2021) for this form of it. The layer on
[neighbour - point, point] is linear, so its products are taken once a point, not once an edge.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.ops import gather, knn_points

NORM_GROUPS = 4


class Upsampling(nn.Module):
    """Features of few points (B, G, C) carried to more (B, M, C), which have features of their own.

    Args:
        dim: Width C of all features.
        hidden: Width between the two edge convolutions.
        neighbors: Neighbours K of a point.
    """

    def __init__(self, dim: int, hidden: int, *, neighbors: int = 4) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.layer1 = _edge_layer(dim, hidden)
        self.layer2 = _edge_layer(hidden, dim)

    def forward(self, query: Tensor, of_query: Tensor, points: Tensor, of_points: Tensor) -> Tensor:
        """Return (B, M, C).

        Args:
            query: (B, M, 3).
            of_query: Their features (B, M, C).
            points: (B, G, 3).
            of_points: Their features (B, G, C).
        """
        x = self._edges(self.layer1, query, of_query, points, of_points)
        return self._edges(self.layer2, query, x, query, x)

    def published_macs(self, query: Tensor, *_: object) -> int:
        """Return the multiply-accumulates of the originals' form: both layers on every edge."""
        weights = _weight(self.layer1).numel() + _weight(self.layer2).numel()
        return query.shape[0] * query.shape[1] * self.neighbors * weights

    def _edges(
        self, layer: nn.Sequential, query: Tensor, of_query: Tensor, points: Tensor, of_points: Tensor
    ) -> Tensor:
        idx = knn_points(query.detach(), points.detach(), K=self.neighbors).idx  # (B, M, K)
        of_difference, of_point = _weight(layer).flatten(1).chunk(2, dim=1)
        own = F.linear(of_query, of_point - of_difference)
        edges = gather(F.linear(of_points, of_difference), idx) + own.unsqueeze(2)
        B, M, K, C = edges.shape
        x: Tensor = layer[1:](edges.view(B, M * K, C).transpose(1, 2))  # one norm over all edges of a cloud
        return x.transpose(1, 2).reshape(B, M, K, C).max(dim=2).values


def _edge_layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2 * inputs, outputs, 1, bias=False), nn.GroupNorm(NORM_GROUPS, outputs), nn.LeakyReLU(0.2)
    )


def _weight(layer: nn.Sequential) -> Tensor:
    return cast("nn.Conv2d", layer[0]).weight
