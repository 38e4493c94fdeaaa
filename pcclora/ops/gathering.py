"""Rows of a point set by index, and the index that sorts them."""

from math import prod

import torch
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


def argsort(values: Tensor, *, descending: bool = False) -> Tensor:
    """Return the index that sorts the values of each cloud; of equal ones the lowest comes first, exported or not.

    Args:
        values: (B, N), of any real dtype.
        descending: Whether the largest is the first.

    Returns:
        (B, N) int64, an index for :func:`gather`.

    Examples:
        >>> import torch
        >>> from pcclora.ops import argsort
        >>> argsort(torch.tensor([[2.0, 1.0, 2.0, 0.0]]), descending=True).tolist()
        [[0, 2, 1, 3]]
    """
    if torch.onnx.is_in_onnx_export():  # ONNX has no stable sort, but its TopK takes the lower index of equal values
        return values.topk(values.shape[1], dim=1, largest=descending, sorted=True).indices
    return values.argsort(dim=1, descending=descending, stable=True)
