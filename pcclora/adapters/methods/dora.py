"""``dora``: LoRA on the direction of each target's weight, and its length trained beside.

Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation (arXiv 2402.09353). With V = W + (alpha / r) A B and one length
a output,

    W' = V diag(m / ||V||)          ||V|| of each output's column, a constant in the backward pass

From the paper: everything, the constant norm included (its section 4.3); m starts at the norms of W and B at zero, so
the start is the base's. As in Hugging Face peft, in whose order it is computed: on whole maps outputs in eval mode are
equal bit for bit. Ours: a target may be rows of a fused map; each row has its own length either way, so slices change
nothing but where the low rank is; and dropout, in training, is of the input of A alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About
from pcclora.adapters.lowrank import LowRankAdapter, Share
from pcclora.adapters.methods.lora import PEFT_NAMES, Factors, LoRAConfig, ProductAdapter
from pcclora.adapters.targets import Target
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

    def stretched(self, x: Tensor, members: slice, lengths: Tensor) -> Tensor:
        """Return the targets' updates side by side, each output multiplied by its length."""
        x = F.dropout(x, self.dropout, self.training)
        return lengths * self.unscaled(x, self.A[members], self.B[members]) * self.scale

    def weights(self, members: slice) -> Tensor:
        """Return B A of some targets, (n, d_out, d_in), the products formed as peft does."""
        return torch.stack([F.linear(A.T, B).T for A, B in zip(self.A[members], self.B[members], strict=True)])


@ADAPTERS.register("dora", config=DoRAConfig)
class DoRA(ProductAdapter):
    """DoRA on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found.
    """

    config: DoRAConfig

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Directions:
        """Return the factors and lengths of all targets of one shape."""
        return Directions(targets, weights, self.config.of(targets[0].module))

    def rate_factors(self) -> dict[str, float]:
        """Return LoRA+'s."""
        return self.config.rate_factors(self)

    @property
    def peft_names(self) -> Mapping[str, str]:
        """Those of A, B and the lengths; none where peft's settings do not say all of ours."""
        return PEFT_NAMES | {"m": "lora_magnitude_vector"} if self.config.loraplus_lr_ratio == 1 else {}

    @property
    def peft_settings(self) -> dict[str, Any]:
        """Those of LoRA, and that it is DoRA."""
        return super().peft_settings | {"use_dora": True}

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Refuse it: the lengths are in no product."""
        return LowRankAdapter.lora_form(self, module, weight)

    def linear(self, module: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute (x W + (alpha / r) (x A) B) * m / ||V|| + b in the targets' rows, in peft's order."""
        y = F.linear(x, weight, bias)
        base = y if bias is None else y - bias
        for share in self.shares[module]:
            lengths = torch.cat(self._lengths(share, weight))
            own = torch.cat([base[..., rows] for rows in share.rows], dim=-1)
            y = share.add(y, (lengths - 1) * own + self._own(share).stretched(x, share.members, lengths))
        return y

    def merged(self, module: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return W' and the bias as it is."""
        merged, _ = super().merged(module, weight, None)
        for share in self.shares[module]:
            for rows, lengths in zip(share.rows, self._lengths(share, weight), strict=True):
                merged[rows] *= lengths[:, None]
        return merged, bias

    def _lengths(self, share: Share, weight: Tensor) -> list[Tensor]:
        """Return m / ||V|| of each target of a share."""
        group = self._own(share)
        with torch.no_grad():
            deltas = group.scale * group.weights(share.members)
            norms = [(weight[rows] + delta).norm(dim=1) for rows, delta in zip(share.rows, deltas, strict=True)]
        return [m / norm for m, norm in zip(group.m[share.members], norms, strict=True)]

    def _own(self, share: Share) -> Directions:
        return cast("Directions", self.groups[share.group])
