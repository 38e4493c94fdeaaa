"""Rows of a point set by index."""

from math import prod

from torch import Tensor

from pcclora.errors import PccloraError


def gather(points: Tensor, idx: Tensor) -> Tensor:
    """Return the points, or features, that an index names, cloud by cloud.

    Args:
        points: (B, N, C), of any dtype.
        idx: (B, ...) int64 in 0...N-1, as :func:`sample_farthest_points` and :func:`knn_points` return it.

    Returns:
        (B, ..., C); differentiable in ``points``.

    Raises:
        PccloraError: If the shapes do not fit.

    Examples:
        >>> import torch
        >>> from pcclora.ops import gather, knn_points
        >>> points = torch.rand(2, 100, 3)
        >>> gather(points, knn_points(points[:, :5], points, K=8).idx).shape
        torch.Size([2, 5, 8, 3])
    """
    if points.dim() != 3 or idx.dim() < 1 or idx.shape[0] != points.shape[0]:
        raise PccloraError(
            f"points {tuple(points.shape)}, idx {tuple(idx.shape)}: (B, N, C) and (B, ...) with the same B are needed"
        )
    flat = idx.reshape(idx.shape[0], prod(idx.shape[1:]), 1).expand(-1, -1, points.shape[2])
    return points.gather(1, flat).reshape(*idx.shape, points.shape[2])
