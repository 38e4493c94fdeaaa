"""Point cloud -> tokens: farthest point sampling, k nearest neighbours, one mini-PointNet a group.

Yu et al., Point-BERT (arXiv 2111.14819); Pang et al., Point-MAE (arXiv 2203.06604). It computes what the originals
compute, with the same Conv1d and BatchNorm1d parameters, in fewer operations:

* the second stage acts on [global, local]; its global half is one product a group instead of one a point;
* its local half and the layer before it have nothing between them, so the two products are one;
* in eval mode BatchNorm is folded into the layer before it.

A frozen tokeniser (no parameter and no input asks for a gradient) records no graph, and on a CPU works in chunks that
stay in the cache.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.points.pointwise import activate, affine, fold
from pcclora.ops import gather, knn_points, sample_farthest_points

CHUNK = 2**20  # numbers in the widest activation of a chunk: 4 MB, measured best at 64 groups of 32 points x 512


class Grouping(nn.Module):
    """Cuts clouds into overlapping groups of neighbours around farthest-point samples; a module without parameters.

    Args:
        num_groups: Number of groups G.
        group_size: Points K of a group; the centre is one of them.
        skip_near_origin: Sample as pointnet2_ops does; see :func:`pcclora.ops.sample_farthest_points`.
    """

    def __init__(self, num_groups: int, group_size: int, *, skip_near_origin: bool = False) -> None:
        super().__init__()
        self.num_groups, self.group_size, self.skip_near_origin = num_groups, group_size, skip_near_origin

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return neighbourhoods (B, G, K, 3) relative to their centres, and centres (B, G, 3).

        Args:
            points: Clouds (B, N, 3), in the units of the data set (the unit sphere for all released models).

        Raises:
            PccloraError: If the shape is another, or a cloud has fewer points than groups or than a group needs.
        """
        if points.ndim != 3 or points.shape[-1] != 3:
            raise PccloraError(
                f"points of shape {tuple(points.shape)}: (B, N, 3) is expected; drop further channels first"
            )
        with torch.no_grad():
            _, sampled = sample_farthest_points(points, K=self.num_groups, skip_near_origin=self.skip_near_origin)
        centers = gather(points, sampled)
        with torch.no_grad():
            _, neighbors, _ = knn_points(centers, points, K=self.group_size)
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
        groups = neighborhoods.flatten(0, 1)
        products = self._products()
        frozen = not torch.is_grad_enabled() or not (
            groups.requires_grad or any(parameter.requires_grad for parameter in self.parameters())
        )
        chunked = frozen and not self._norm_in_train_mode() and groups.device.type == "cpu"
        if chunked and not torch.compiler.is_exporting():  # how many chunks there are depends on the batch
            chunk = max(1, CHUNK // (K * max(weight.shape[0] for weight, _ in products)))
            tokens = torch.cat([self._encode(part, products) for part in torch.split(groups, chunk)])
        else:
            tokens = self._encode(groups, products)
        return tokens.view(B, G, -1)

    def published_macs(self, neighborhoods: Tensor) -> int:
        """Return the multiply-accumulates of the originals' form: four layers, each applied to every point."""
        first, second = _layers(self.first_conv), _layers(self.second_conv)
        return neighborhoods[..., 0].numel() * sum(layer.weight.numel() for layer in (*first[::2], *second[::2]))

    def _products(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return weight and bias of each linear map, with what can be folded into them."""
        enter1, norm1, leave1 = _layers(self.first_conv)
        enter2, norm2, leave2 = _layers(self.second_conv)
        weight, bias = fold(enter2, norm2)
        weight1, bias1 = affine(leave1)
        of_global, of_local = weight[:, : len(weight1)], weight[:, len(weight1) :]
        return (
            fold(enter1, norm1),
            (weight1, bias1),
            (of_global, bias),
            (of_local @ weight1, of_local @ bias1),
            affine(leave2),
        )

    def _encode(self, groups: Tensor, products: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
        """Map groups (M, K, 3) to tokens (M, C)."""
        M, K, _ = groups.shape
        enter1, leave1, per_group, per_point, leave2 = products
        hidden = activate(F.linear(groups.reshape(M * K, 3), *enter1), _layers(self.first_conv)[1])
        pooled = _group_max(F.linear(hidden, *leave1), K)
        mixed = F.linear(hidden, *per_point).view(M, K, -1) + F.linear(pooled, *per_group).unsqueeze(1)
        hidden = activate(mixed.flatten(0, 1), _layers(self.second_conv)[1])
        return _group_max(F.linear(hidden, *leave2), K)

    def _norm_in_train_mode(self) -> bool:
        return self.first_conv[1].training or self.second_conv[1].training


def _stage(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, hidden, 1), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Conv1d(hidden, outputs, 1)
    )


def _layers(stage: nn.Sequential) -> tuple[nn.Conv1d, nn.BatchNorm1d, nn.Conv1d]:
    return cast("nn.Conv1d", stage[0]), cast("nn.BatchNorm1d", stage[1]), cast("nn.Conv1d", stage[3])


def _group_max(x: Tensor, K: int) -> Tensor:
    """Max over each group's points: (M*K, C) -> (M, C); as in the originals one point takes all the gradient."""
    grouped = x.view(-1, K, x.shape[-1])
    return grouped.max(dim=1).values if x.requires_grad else grouped.amax(dim=1)
