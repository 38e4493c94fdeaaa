"""The squared distance of all ops: (dx*dx + dy*dy) + dz*dz, each operation rounded by itself, as in geometry.cpp."""

from collections.abc import Sequence

import torch
from torch import Tensor

Rows = Tensor | Sequence[Tensor]  # x, y and z, one after the other


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances (...) of points (..., 3); differentiable."""
    dx, dy, dz = ((a[..., i] - b[..., i]) for i in range(3))
    return (dx * dx + dy * dy) + dz * dz


def squared_distance_into(out: Tensor, a: Rows, b: Rows, *, term: Tensor) -> Tensor:
    """Write the same numbers into ``out``, without a graph and without other memory.

    Args:
        out: (...) where the distances go.
        a: The x, y and z of points, each of a shape that broadcasts to ``out``.
        b: The same of the other points.
        term: (...) to work in.

    Returns:
        ``out``.
    """
    torch.sub(a[0], b[0], out=out).mul_(out)
    for i in (1, 2):
        torch.sub(a[i], b[i], out=term).mul_(term)
        out.add_(term)
    return out
