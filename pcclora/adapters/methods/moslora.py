"""``moslora``: LoRA with a trained mixer between its two factors.

Wu et al., Mixture-of-Subspaces in Low-Rank Adaptation (arXiv 2406.11909):

    y = x W + b + s (x A) M B          A (d_in, r), M (r, r), B (r, d_out) of each target, s = alpha / r

With M = 1 it is LoRA: M lets each of the r directions of A reach each of B. From the paper: this form, A and M
Kaiming-uniform (a = sqrt 5), B zero, so the start is the base's. It is CLoRA with one basis whose bases are not shared,
as a test holds, and shows what the sharing changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pcclora.adapters.base import About
from pcclora.adapters.methods.lora import Factors, LoRA, LoRAConfig
from pcclora.adapters.targets import Target
from pcclora.registry import ADAPTERS


@dataclass
class MoSLoRAConfig(LoRAConfig):
    """Settings of MoSLoRA: those of LoRA, with ``init`` of LoRA's paper only."""

    about: ClassVar[About | None] = About("W + alpha/r A M B", "MoSLoRA (2406.11909)")

    inits: ClassVar[tuple[str, ...]] = ("kaiming",)


class Mixed(Factors):
    """LoRA's factors of all targets of one shape, and their mixers.

    Args:
        d_in: Width of the input.
        d_out: Width of the update.
        members: Number m of targets.
        config: Rank, scale, dropout.
    """

    def __init__(self, d_in: int, d_out: int, members: int, config: MoSLoRAConfig) -> None:
        super().__init__(d_in, d_out, members, config)
        r = config.r
        self.M = nn.Parameter(torch.empty(members, r, r).uniform_(-1, 1) * r**-0.5)  # Kaiming-uniform, a = sqrt(5)

    def up(self, members: slice) -> Tensor:
        """Return M B of some targets in torch's form, (n, d_out, r)."""
        return self.B[members] @ self.M[members].mT


@ADAPTERS.register("moslora", config=MoSLoRAConfig)
class MoSLoRA(LoRA):
    """MoSLoRA on one model."""

    config: MoSLoRAConfig

    @property
    def peft_names(self) -> Mapping[str, str]:
        """None: peft has no mixer."""
        return {}

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Mixed:
        """Return the factors and mixers of all targets of one shape."""
        return Mixed(targets[0].d_in, targets[0].d_out, len(targets), self.config.of(targets[0].module))
