"""Farthest point sampling: the well-spread subset that serves as the centres of groups.

Qi et al., "PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space", NeurIPS 2017. Must agree
with ``pytorch3d.ops.sample_farthest_points`` and, with ``skip_near_origin``, with ``furthest_point_sample`` of
pointnet2_ops, which the released Point-BERT and Point-MAE models were trained with.
"""

from typing import cast

import torch
from torch import Tensor

from pcclora.errors import PccloraError
from pcclora.ops import native, plain
from pcclora.ops.checks import check_count, check_finite, check_points
from pcclora.ops.dispatch import Backend, choose
from pcclora.ops.distance import squared_distance_into
from pcclora.ops.gathering import gather
from pcclora.ops.operators import operator


def sample_farthest_points(
    points: Tensor, *, K: int, start: int = 0, skip_near_origin: bool = False
) -> tuple[Tensor, Tensor]:
    """Choose K points, each the farthest from those chosen before it; exact, ties to the lowest index.

    Args:
        points: (B, N, 3) float32 or float64.
        K: How many points to choose, 1...N.
        start: Index of the first choice, the same in every cloud.
        skip_near_origin: The rule of pointnet2_ops: a point with x² + y² + z² <= 1e-3 is never chosen, except as the
            first. For parity with released checkpoints only.

    Returns:
        The chosen points (B, K, 3), differentiable in ``points``, and their indices (B, K) int64. Where a cloud has
        fewer than K distinct points (or all others are skipped), an index repeats.

    Raises:
        PccloraError: If shape, dtype, K or start is wrong, or on a CPU if a coordinate is NaN or infinite.

    Examples:
        >>> import torch
        >>> from pcclora.ops import sample_farthest_points
        >>> line = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0]]])
        >>> chosen, idx = sample_farthest_points(line, K=3)
        >>> idx.tolist(), chosen.shape
        ([[0, 3, 2]], torch.Size([1, 3, 3]))
    """
    check_points(points, "points")
    check_count(K, points.shape[1])
    if not 0 <= start < points.shape[1]:
        raise PccloraError(f"start={start}: the first point must be one of 0...{points.shape[1] - 1}")
    find = _traced if plain.exporting() else _indices
    idx = find(points.detach(), K, start, skip_near_origin)
    return gather(points, idx), idx


def _no_indices(points: Tensor, K: int, start: int, skip_near_origin: bool) -> Tensor:
    return points.new_empty((points.shape[0], K), dtype=torch.int64)


@operator(
    "pcclora::sample_farthest_points(Tensor points, int K, int start, bool skip_near_origin) -> Tensor",
    fake=_no_indices,
)
def _indices(points: Tensor, K: int, start: int, skip_near_origin: bool) -> Tensor:
    match choose(points, pytorch3d_can=start == 0 and not skip_near_origin):
        case Backend.NATIVE:
            return native.sample_farthest_points(points, K=K, start=start, skip_near_origin=skip_near_origin)
        case Backend.PYTORCH3D:
            from pytorch3d.ops import sample_farthest_points as peer

            return cast("Tensor", peer(points, K=K)[1])
        case Backend.TORCH:
            return _sample_with_torch(points, K=K, start=start, skip_near_origin=skip_near_origin)


def _traced(points: Tensor, K: int, start: int, skip_near_origin: bool) -> Tensor:
    skipped = _near_origin(points.movedim(2, 0)) if skip_near_origin else None
    return plain.sample_farthest_points(points, K=K, start=start, skipped=skipped)


@torch.no_grad()
def _sample_with_torch(points: Tensor, *, K: int, start: int, skip_near_origin: bool) -> Tensor:
    if points.device.type == "cpu":
        check_finite(bool(points.isfinite().all()), "points")
    rows = points.movedim(2, 0).contiguous()  # x, y, z (3, B, N): they stream, unlike the interleaved (B, N, 3)
    nearest = torch.full_like(rows[0], torch.finfo(rows.dtype).max)  # squared distance to the nearest chosen point
    if skip_near_origin:
        nearest[_near_origin(rows)] = -1
    distance, term = torch.empty_like(nearest), torch.empty_like(nearest)
    idx = points.new_empty((len(points), K), dtype=torch.int64)
    last = points.new_full((len(points), 1), start, dtype=torch.int64)
    for k in range(K):
        idx[:, k] = last[:, 0]
        chosen = [row.gather(1, last) for row in rows]
        torch.minimum(nearest, squared_distance_into(distance, rows, chosen, term=term), out=nearest)
        last = nearest.argmax(1, keepdim=True)  # the first of equal maxima
    return idx


def _near_origin(rows: Tensor) -> Tensor:
    x, y, z = rows[0], rows[1], rows[2]
    norm = (x * x + y * y) + z * z
    # The original compares in double; float32(1e-3) lies above 1e-3, so there `<` is its `<=`.
    return torch.lt(norm, 1e-3) if norm.dtype == torch.float32 else torch.le(norm, 1e-3)
