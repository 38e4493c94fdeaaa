"""``dora``: LoRA on the direction of each target's weight, and its length trained beside.

Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation (arXiv 2402.09353). With V = W + (alpha / r) A B and one length
a output,

    W' = V diag(m / ||V||)          ||V|| of each output's column, a constant in the backward pass

From the paper: everything, the constant norm included (its section 4.3); m starts at the norms of W and B at zero, so
the start is the base's up to rounding. As in Hugging Face peft. Ours: a target may be rows of a fused map; each row
has its own length either way, so slices change nothing but where the low rank is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About
from pcclora.adapters.lowrank import LowRankAdapter, Share
from pcclora.adapters.methods.lora import Factors, LoRAConfig
from pcclora.adapters.targets import Target, find_targets
from pcclora.registry import ADAPTERS


@dataclass
class DoRAConfig(LoRAConfig):
    """Settings of DoRA: those of LoRA, with ``init`` of LoRA's paper only."""

    inits: ClassVar[tuple[str, ...]] = ("kaiming",)

    about: ClassVar[About | None] = About("(W + s A B) diag(m / norm of its columns)", "DoRA (2402.09353)")


class Directions(Factors):
    """LoRA's factors of all targets of one shape, and a length for each of their rows.

    Args:
        targets: The targets.
        weights: Their weights (d_out, d_in).
        config: Rank, scale, dropout.
    """

    def __init__(self, targets: Sequence[Target], weights: Sequence[Tensor], config: DoRAConfig) -> None:
        super().__init__(targets[0].d_in, targets[0].d_out, len(targets), config)
        self.m = nn.Parameter(torch.stack([weight.norm(dim=1) for weight in weights]))


@ADAPTERS.register("dora", config=DoRAConfig)
class DoRA(LowRankAdapter):
    """DoRA on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found.
    """

    config: DoRAConfig

    def __init__(self, config: DoRAConfig, model: nn.Module) -> None:
        super().__init__(config, model, targets=find_targets(model, config.target_modules))

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Directions:
        """Return the factors and lengths of all targets of one shape."""
        return Directions(targets, weights, self.config)

    def rate_factors(self) -> dict[str, float]:
        """Return LoRA+'s."""
        return self.config.rate_factors(self)

    def linear(self, module: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute (x W + (alpha / r) (x A) B) * m / ||V|| + b in the targets' rows."""
        y, lengths = F.linear(x, weight), weight.new_ones(len(weight))
        for share in self.shares[module]:
            y = share.add(y, self._own(share)(x, share.members))
            lengths = self._scaled(lengths, share, weight)
        y = y * lengths
        return y if bias is None else y + bias

    def merged(self, module: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return W' and the bias as it is."""
        lengths = weight.new_ones(len(weight))
        for share in self.shares[module]:
            lengths = self._scaled(lengths, share, weight)
        return super().merged(module, weight, None)[0] * lengths[:, None], bias

    def _scaled(self, lengths: Tensor, share: Share, weight: Tensor) -> Tensor:
        """Return m / ||V|| in the rows of a share, and what was there in all others."""
        lengths = lengths.clone()
        with torch.no_grad():
            deltas = self.deltas(share)
            norms = [(weight[rows] + delta).norm(dim=1) for rows, delta in zip(share.rows, deltas, strict=True)]
        for rows, norm, m in zip(share.rows, norms, self._own(share).m[share.members], strict=True):
            lengths[rows] = m / norm
        return lengths

    def _own(self, share: Share) -> Directions:
        return cast("Directions", self.groups[share.group])
