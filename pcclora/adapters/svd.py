"""The largest singular triplets of frozen weights, which methods start from, or stay inside."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcclora.adapters.targets import Target
from pcclora.errors import PccloraError


def singular_triplets(targets: Sequence[Target], weights: Sequence[Tensor], r: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return U (m, d_out, r), S (m, r) and V (m, r, d_in) of :func:`top_singular` of m targets of one shape.

    Args:
        targets: Of one shape.
        weights: Of each (d_out, d_in).
        r: How many triplets.

    Raises:
        PccloraError: If the targets have no such rank.
    """
    target = targets[0]
    most = min(target.d_in, target.d_out)
    if r > most:
        raise PccloraError(
            f"r is {r}, but target '{target}' maps {target.d_in} to {target.d_out}, so its rank is {most} at most; "
            "choose a smaller r or other targets"
        )
    U, S, V = zip(*(top_singular(weight, r) for weight in weights), strict=True)
    return torch.stack(U), torch.stack(S), torch.stack(V)


def top_singular(weight: Tensor, r: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return U (d_out, r), S (r) and V (r, d_in), whose product U S V is the best approximation of rank r.

    In float64 and on the CPU, and each triplet with the sign that makes the largest entry of its row of V positive: so
    they are the same up to rounding on every machine, where the singular values are apart.

    Args:
        weight: (d_out, d_in), of any type on any device.
        r: At most its rank.
    """
    U, S, V = torch.linalg.svd(
        weight.detach().to("meta" if weight.is_meta else "cpu", torch.float64), full_matrices=False
    )
    U, S, V = U[:, :r], S[:r], V[:r]
    largest = V.gather(1, V.abs().argmax(1, keepdim=True))
    sign = torch.where(largest < 0, -1.0, 1.0)
    return U * sign.T, S, V * sign
