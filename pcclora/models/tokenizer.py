"""Point cloud -> tokens: farthest point sampling, k nearest neighbours, one mini-PointNet a group.

Yu et al., Point-BERT (arXiv 2111.14819); Pang et al., Point-MAE (arXiv 2203.06604). It computes what the originals
compute, with the same Conv1d and BatchNorm1d parameters, in fewer operations:

* the second stage acts on [global, local]; its global half is one product a group instead of one a point;
* its local half and the layer before it have nothing between them, so the two products are one;
* in eval mode BatchNorm is folded into the layer before it.

A frozen tokeniser (no parameter and no input asks for a gradient) records no graph.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.ops import gather, knn_points, sample_farthest_points


def group_points(
    points: Tensor, *, num_groups: int, group_size: int, skip_near_origin: bool = False
) -> tuple[Tensor, Tensor]:
    """Cut clouds into overlapping groups of neighbours around farthest-point samples.

    Args:
        points: Clouds (B, N, 3), in the units of the data set (the unit sphere for all released models).
        num_groups: Number of groups G.
        group_size: Points K of a group; the centre is one of them.
        skip_near_origin: Sample as pointnet2_ops does; see :func:`pcclora.ops.sample_farthest_points`.

    Returns:
        Neighbourhoods (B, G, K, 3) relative to their centres, and centres (B, G, 3).

    Raises:
        PccloraError: If the shape is another, or a cloud has fewer points than groups or than a group needs.
    """
    if points.ndim != 3 or points.shape[-1] != 3:
        raise PccloraError(f"points of shape {tuple(points.shape)}: (B, N, 3) is expected; drop further channels first")
    with torch.no_grad():
        _, sampled = sample_farthest_points(points, K=num_groups, skip_near_origin=skip_near_origin)
    centers = gather(points, sampled)
    with torch.no_grad():
        _, neighbors, _ = knn_points(centers, points, K=group_size)
    return gather(points, neighbors) - centers.unsqueeze(2), centers


class MiniPointNet(nn.Module):
    """A group of points -> one token: two stages of shared layers, each followed by a max over the group.

    Args:
        widths: Outputs of the first stage's two layers and of the second stage's first layer.
        dim: Width C of a token.
    """

    def __init__(self, widths: tuple[int, ...], dim: int) -> None:
        super().__init__()
        hidden1, local, hidden2 = widths
        self.first_conv = _stage(3, hidden1, local)
        self.second_conv = _stage(2 * local, hidden2, dim)

    def forward(self, neighborhoods: Tensor) -> Tensor:
        """Map neighbourhoods (B, G, K, 3) to tokens (B, G, C)."""
        B, G, K, _ = neighborhoods.shape
        enter1, norm1, _, leave1 = self.first_conv
        enter2, norm2, _, leave2 = self.second_conv
        weight1, weight2 = _weight(leave1), _weight(enter2)
        half = weight1.shape[0]

        hidden = F.relu(_linear_norm(neighborhoods.reshape(B * G * K, 3), _weight(enter1), enter1.bias, norm1))
        pooled = _group_max(F.linear(hidden, weight1, leave1.bias), K)  # (B*G, local)

        weight, bias = _fold(weight2, enter2.bias, norm2)
        per_group = F.linear(pooled, weight[:, :half], bias)  # weight[:, :half] reads the global half
        per_point = F.linear(hidden, weight[:, half:] @ weight1, weight[:, half:] @ leave1.bias)
        mixed = per_point.view(B * G, K, -1) + per_group.unsqueeze(1)
        hidden = F.relu(_norm_if_training(mixed.flatten(0, 1), norm2))
        return _group_max(F.linear(hidden, _weight(leave2), leave2.bias), K).view(B, G, -1)


def _stage(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, hidden, 1), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Conv1d(hidden, outputs, 1)
    )


def _weight(conv: nn.Module) -> Tensor:
    return conv.weight.squeeze(-1)


def _fold(weight: Tensor, bias: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the layer that does what the layer and then ``norm`` do in eval mode; in train mode the layer itself."""
    if norm.training:
        return weight, bias
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return weight * scale.unsqueeze(1), (bias - norm.running_mean) * scale + norm.bias


def _norm_if_training(x: Tensor, norm: nn.Module) -> Tensor:
    return norm(x) if norm.training else x


def _linear_norm(x: Tensor, weight: Tensor, bias: Tensor, norm: nn.Module) -> Tensor:
    return _norm_if_training(F.linear(x, *_fold(weight, bias, norm)), norm)


def _group_max(x: Tensor, K: int) -> Tensor:
    """Max over each group's points: (B*G*K, C) -> (B*G, C); as in the originals one point takes all the gradient."""
    grouped = x.view(-1, K, x.shape[-1])
    return grouped.max(dim=1).values if x.requires_grad else grouped.amax(dim=1)
