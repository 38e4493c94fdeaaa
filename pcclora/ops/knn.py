"""The K nearest neighbours, by exact differences.

The expanded form |a|² + |b|² - 2ab of ``torch.cdist`` loses the neighbours of clouds far from the origin and is not
used. Must agree with ``pytorch3d.ops.knn_points``.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from pcclora.ops import native, plain
from pcclora.ops.checks import check_count, check_finite, check_pair
from pcclora.ops.dispatch import Backend, choose
from pcclora.ops.distance import squared_distance, squared_distance_into
from pcclora.ops.gathering import gather
from pcclora.ops.operators import operator

HELD = 1 << 24  # distances that the torch code holds at a time: they bound its memory whatever B, G and N are
HELD_CPU = 1 << 18  # there they should stay in the cache


class Neighbours(NamedTuple):
    """What :func:`knn_points` returns.

    Attributes:
        dists: (B, G, K) squared distances, ascending.
        idx: (B, G, K) int64, places in the points.
        nn: (B, G, K, 3) the neighbours themselves where they were asked for.
    """

    dists: Tensor
    idx: Tensor
    nn: Tensor | None


def knn_points(query: Tensor, points: Tensor, *, K: int, return_nn: bool = False) -> Neighbours:
    """Find the K nearest points of each query; exact, ties to the lowest index.

    Args:
        query: (B, G, 3) float32 or float64.
        points: (B, N, 3) of the same dtype; where ``query`` is a part of it, each is its own first neighbour.
        K: How many neighbours, 1...N.
        return_nn: Whether to return the neighbours' coordinates too.

    Returns:
        ``dists`` (B, G, K), squared and ascending, differentiable in both arguments; ``idx`` (B, G, K) int64; ``nn``
        (B, G, K, 3) or None.

    Raises:
        PccloraError: If shape, dtype or K is wrong, or on a CPU if a coordinate is NaN or infinite.

    Examples:
        >>> import torch
        >>> from pcclora.ops import knn_points
        >>> line = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0]]])
        >>> found = knn_points(line[:, :1], line, K=2)
        >>> found.idx.tolist(), found.dists.tolist()
        ([[[0, 1]]], [[[0.0, 1.0]]])
    """
    check_pair(query, points, ("query", "points"))
    check_count(K, points.shape[1])
    search = plain.knn_points if plain.exporting() else _search
    dists, idx = search(query.detach(), points.detach(), K)
    differentiable = torch.is_grad_enabled() and (query.requires_grad or points.requires_grad)
    nn = gather(points, idx) if return_nn or differentiable else None
    if differentiable and nn is not None:
        dists = squared_distance(query.unsqueeze(2), nn)  # the same numbers, with a graph
    return Neighbours(dists, idx, nn if return_nn else None)


def _no_neighbours(query: Tensor, points: Tensor, K: int) -> tuple[Tensor, Tensor]:
    shape = (*query.shape[:2], K)
    return query.new_empty(shape), query.new_empty(shape, dtype=torch.int64)


@operator("pcclora::knn_points(Tensor query, Tensor points, int K) -> (Tensor, Tensor)", fake=_no_neighbours)
def _search(query: Tensor, points: Tensor, K: int) -> tuple[Tensor, Tensor]:
    match choose(points):
        case Backend.NATIVE:
            return native.knn_points(query, points, K=K)
        case Backend.PYTORCH3D:
            from pytorch3d.ops import knn_points as peer

            return cast("tuple[Tensor, Tensor]", peer(query, points, K=K)[:2])
        case Backend.TORCH:
            return _search_with_torch(query, points, K)


@torch.no_grad()
def _search_with_torch(query: Tensor, points: Tensor, K: int) -> tuple[Tensor, Tensor]:
    (B, G, _), N = query.shape, points.shape[1]
    if points.device.type == "cpu":
        check_finite(bool(query.isfinite().all()), "query")
        check_finite(bool(points.isfinite().all()), "points")
    dists, idx = query.new_empty((B, G, K)), query.new_empty((B, G, K), dtype=torch.int64)
    q, p = query.movedim(2, 0).contiguous().unsqueeze(3), points.movedim(2, 0).contiguous().unsqueeze(2)
    held = HELD_CPU if points.device.type == "cpu" else HELD
    clouds, queries = max(1, held // max(1, G * N)), max(1, held // N)
    for b in range(0, B, clouds):
        for g in range(0, G, queries):
            a = q[:, b : b + clouds, g : g + queries]  # x, y, z (3, clouds, queries, 1)
            row, term = (query.new_empty((*a.shape[1:3], N)) for _ in range(2))
            squared_distance_into(row, a, p[:, b : b + clouds], term=term)
            here = slice(b, b + clouds), slice(g, g + queries)
            dists[here], idx[here] = _smallest(row, K)
    return dists, idx


def _smallest(row: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Return the K smallest of each row, ascending, and their indices; the lower index first where they are equal."""
    extra = min(K + 1, row.shape[-1])  # one more, to see a tie across the K-th
    values, order = row.topk(extra, dim=-1, largest=False, sorted=True)
    tied = (values[..., 1:] == values[..., :-1]).any(-1)
    if tied.any():  # topk breaks ties at will
        order[tied] = row[tied].sort(dim=-1, stable=True).indices[..., :extra]
    return values[..., :K], order[..., :K]
