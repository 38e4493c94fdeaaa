"""Feature propagation: from few points that the network knows to any points, by three nearest neighbours.

Qi et al., PointNet++ (NeurIPS 2017, arXiv 1706.02413), section 3.4; the two layers have the released names. The first
layer is linear and so is the interpolation before it, hence they commute: its product with the features is taken at the
few points, and what is interpolated is the product. Value, gradient and batch statistics are those of the published
order (tests/models/points/test_part_segmentation.py).
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.models.points.pointwise import PointwiseConv, activate, fold
from pcclora.ops import interpolate_three_nn


class FeaturePropagation(nn.Module):
    """Interpolate, join with the coordinates, two layers with BatchNorm and ReLU.

    Args:
        inputs: Width C of the known features.
        widths: Outputs of the layers.
        code: Width of what all queries of a cloud share; the published column order is [code, coordinates, features].
    """

    def __init__(self, inputs: int, widths: tuple[int, int], *, code: int = 0) -> None:
        super().__init__()
        self.columns = [code, 3, inputs]
        shapes = zip((sum(self.columns), widths[0]), widths, strict=True)
        self.mlp_convs = nn.ModuleList(PointwiseConv(*shape) for shape in shapes)
        self.mlp_bns = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)

    def forward(self, query: Tensor, points: Tensor, features: Tensor, code: Tensor | None = None) -> Tensor:
        """Map features (B, G, C) of points (B, G, 3) to features (B, M, widths[-1]) of queries (B, M, 3).

        Args:
            query: Where features are wanted.
            points: Where they are known.
            features: The known ones.
            code: (B, D) shared by all queries of a cloud.
        """
        (first, second), (norm1, norm2) = self._convs(), cast("tuple[nn.BatchNorm1d, ...]", tuple(self.mlp_bns))
        weight, bias = fold(first, norm1)
        of_code, of_query, of_features = torch.split(weight, self.columns, dim=1)
        known = F.linear(features, of_features, bias)  # the weights of three neighbours add up to one: the bias stays
        if code is not None:
            known = known + F.linear(code, of_code).unsqueeze(1)
        carried = interpolate_three_nn(query, points, known)
        out: Tensor = second(activate(F.linear(query, of_query).add_(carried), norm1), None, norm2)
        return out

    def published_macs(self, query: Tensor, *_: object) -> int:
        """Return the multiply-accumulates of the originals' form: interpolated first, both layers at every query."""
        return query.shape[0] * query.shape[1] * sum(conv.weight.numel() for conv in self._convs())

    def _convs(self) -> tuple[PointwiseConv, ...]:
        return cast("tuple[PointwiseConv, ...]", tuple(self.mlp_convs))
