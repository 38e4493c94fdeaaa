"""The ops while a model is exported: the same results, in operators that any runtime has.

An exported model must load where this package is not, so neither the native kernel nor our own operators may be in it,
and no shape and no branch may depend on the data. Distances are rounded one operation after the other, as in
``distance.py``, and equal ones go to the lowest index, so that a runtime that does not fuse multiplications and
additions chooses the same points, bit for bit.
"""

import torch
from torch import Tensor

from pcclora.ops.distance import squared_distance


def exporting() -> bool:
    """Return whether a model is being exported: the ops are then to be those of this file."""
    return torch.compiler.is_exporting()


def sample_farthest_points(points: Tensor, *, K: int, start: int, skipped: Tensor | None) -> Tensor:
    """Return the indices (B, K) of :func:`pcclora.ops.sample_farthest_points`, as one loop of the graph.

    Written out, K steps would be K times as many nodes: minutes of export for the 512 points of Point-BERT's parts.

    Args:
        points: The clouds (B, N, 3).
        K: How many.
        start: The first.
        skipped: (B, N), which points are never chosen, if any.
    """
    from torch._higher_order_ops.scan import scan  # torch has no public name for it yet

    x, y, z = (points[..., i].contiguous() for i in range(3))
    nearest = torch.full_like(x, torch.finfo(points.dtype).max)
    if skipped is not None:
        nearest = torch.where(skipped, -1.0, nearest)
    last = torch.full_like(x[:, :1], start, dtype=torch.int64)

    def step(held: tuple[Tensor, Tensor], _: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        nearest, last = held
        dx, dy, dz = x - x.gather(1, last), y - y.gather(1, last), z - z.gather(1, last)
        nearest = torch.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
        return (nearest, nearest.argmax(1, keepdim=True)), last.clone()

    _, chosen = scan(step, (nearest, last), torch.arange(K))
    idx: Tensor = chosen.squeeze(2).transpose(0, 1)
    return idx


def knn_points(query: Tensor, points: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Return dists and idx (B, G, K) of :func:`pcclora.ops.knn_points`.

    ONNX says that TopK takes the lower index of equal values; torch's takes any, hence the sort.
    """
    distances = squared_distance(query.unsqueeze(2), points.unsqueeze(1))
    if torch.onnx.is_in_onnx_export():
        dists, idx = distances.topk(K, dim=2, largest=False, sorted=True)
        return dists, idx
    dists, idx = distances.sort(dim=2, stable=True)
    return dists[..., :K], idx[..., :K]


def weighted_sum(features: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of features (B, G, C) that idx (B, N, K) names, times weight (B, N, K), as one product (B, N, C).

    Written as a gather it moves K times the memory of the result; as torch's embedding bag it becomes, in ONNX, a loop
    over all points, which runs a hundred times as long.
    """
    empty = torch.zeros_like(features[:, :1, 0]).unsqueeze(2).expand(-1, idx.shape[1], features.shape[1])
    return empty.scatter(2, idx, weight.to(features.dtype)) @ features
