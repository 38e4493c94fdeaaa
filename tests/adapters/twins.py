"""CLoRA's definition written out, target by target and basis by basis: what its fast forms must agree with."""

from typing import cast

import torch
from torch import Tensor

from pcclora.adapters.methods.clora import CLoRA, SharedBases


def products(adapter: CLoRA) -> list[tuple[str, slice, Tensor]]:
    """For each target its module, its rows, and D_h Q_h U_h as (p, d_in, d_out), one product at a time."""
    result = []
    place: dict[str, int] = {}
    for target in adapter.targets:
        group = adapter.group_of(target)
        bases = cast("SharedBases", adapter.groups[group])
        j = place.setdefault(group, 0)
        place[group] += 1
        Q = bases.Q[0 if adapter.config.share_cores else j]
        W = torch.stack([bases.D[h] @ Q[h] @ bases.U[h] for h in range(adapter.config.bases)])
        result.append((target.module, slice(target.start, target.stop), W))
    return result


def naive_sade(adapter: CLoRA) -> Tensor:
    """The penalty through d x d matrices, O(p^2 d^3) a target."""
    total = torch.zeros((), dtype=torch.float64)
    found = products(adapter)
    for _, _, W in found:
        for h in range(len(W)):
            for k in range(h + 1, len(W)):
                value = (W[h].T @ W[k]).square().sum()
                if adapter.config.diversity_form == "cosine":
                    value = value / (W[h].square().sum() * W[k].square().sum())
                total = total + value
    return adapter.config.diversity * total / len(found)
