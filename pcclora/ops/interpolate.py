"""Features of few points carried to many: the propagation step of PointNet++ and of Point-MAE's part segmentation.

Qi et al., "PointNet++", NeurIPS 2017, eq. 2 with p = 2 and k = 3. The released code adds 1e-8 to the squared distance.
The weighted sum is torch's embedding bag, which never holds the (B, N, 3, C) neighbours that the released code sums.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pcclora.errors import PccloraError
from pcclora.ops import plain
from pcclora.ops.knn import knn_points


def interpolate_three_nn(query: Tensor, points: Tensor, features: Tensor) -> Tensor:
    """Average the features of the three nearest points, weighted by inverse squared distance.

    Args:
        query: (B, N, 3) where features are wanted.
        points: (B, G, 3) where they are known; of fewer than three, all are used.
        features: (B, G, C), of any floating dtype.

    Returns:
        (B, N, C) of the features' dtype; differentiable in all arguments.

    Raises:
        PccloraError: If shapes or dtypes do not fit, or on a CPU if a coordinate is NaN or infinite.

    Examples:
        >>> import torch
        >>> from pcclora.ops import interpolate_three_nn
        >>> points = torch.tensor([[[0.0, 0, 0], [2, 0, 0]]])
        >>> query, features = torch.tensor([[[1.0, 0, 0]]]), torch.tensor([[[10.0], [20.0]]])
        >>> interpolate_three_nn(query, points, features).round(decimals=3)
        tensor([[[15.]]])
    """
    return interpolate_nn(query, points, features, K=3, eps=1e-8)


def interpolate_nn(query: Tensor, points: Tensor, features: Tensor, *, K: int, eps: float) -> Tensor:
    """Average the features of the K nearest points, weighted by 1 / (squared distance + eps).

    Args:
        query: (B, N, 3) where features are wanted.
        points: (B, G, 3) where they are known; of fewer than K, all are used.
        features: (B, G, C), of any floating dtype.
        K: How many.
        eps: What bounds the weight of a point that is the query itself.

    Returns:
        (B, N, C) of the features' dtype; differentiable in all arguments.

    Raises:
        PccloraError: As :func:`interpolate_three_nn`.
    """
    if features.dim() != 3 or features.shape[:2] != points.shape[:2]:
        raise PccloraError(
            f"features {tuple(features.shape)}, points {tuple(points.shape)}: (B, G, C) and (B, G, 3) are needed"
        )
    B, G, C = features.shape
    dists, idx, _ = knn_points(query, points, K=min(K, G))
    weight = 1 / (dists + eps)
    weight = weight / weight.sum(2, keepdim=True)  # (B, N, K)
    if plain.exporting():
        return plain.weighted_sum(features, idx, weight)
    rows = (idx + G * torch.arange(B, device=idx.device).view(B, 1, 1)).flatten(0, 1)
    bags = F.embedding_bag(
        rows, features.reshape(B * G, C), per_sample_weights=weight.flatten(0, 1).to(features.dtype), mode="sum"
    )
    return bags.view(B, -1, C)
