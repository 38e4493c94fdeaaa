"""LoRA: each target has a low-rank update of its own.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (arXiv 2106.09685): y = x W + b + (alpha / r) (x A) B.
Initialisation and order of operations are Hugging Face peft's, so on whole linear maps outputs are equal bit for bit
(tests/adapters/test_peft.py). Unlike there, a target may be rows of a fused map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.lowrank import LowRankAdapter
from pcclora.adapters.targets import Target, find_targets
from pcclora.errors import PccloraError
from pcclora.limits import check_parameters
from pcclora.registry import ADAPTERS


@dataclass
class LoRAConfig(AdapterConfig):
    """Settings of LoRA, in Hugging Face peft's words.

    Attributes:
        r: Rank.
        lora_alpha: The update is scaled by lora_alpha / r.
        lora_dropout: Of the input of A, in training.
        target_modules: Patterns as ``blocks.*.attn.qkv[q,v]``. None takes ``qkv[q,k,v]`` and ``proj`` of every
            attention.
    """

    shown: ClassVar[tuple[str, ...]] = ("r",)
    about: ClassVar[About | None] = About("W + alpha/r A B", "LoRA (2106.09685)")

    r: int = 8
    lora_alpha: float = 8.0
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.r < 1 or not 0 <= self.lora_dropout < 1 or not isfinite(self.lora_alpha):
            raise PccloraError(
                f"r is {self.r}, at least 1; lora_dropout is {self.lora_dropout}, in [0, 1); lora_alpha is "
                f"{self.lora_alpha}, finite"
            )


class Factors(nn.Module):
    """The factors of all targets of one shape.

    Args:
        d_in: Width of the input.
        d_out: Width of the update.
        members: Number m of targets.
        config: Rank, scale, dropout.
    """

    def __init__(self, d_in: int, d_out: int, members: int, config: LoRAConfig) -> None:
        super().__init__()
        check_parameters(members * config.r * (d_in + d_out), f"r {config.r}")
        self.scale, self.dropout = config.lora_alpha / config.r, config.lora_dropout
        self.A = nn.Parameter(torch.empty(members, config.r, d_in).uniform_(-1, 1) * d_in**-0.5)  # Kaiming, a = sqrt(5)
        self.B = nn.Parameter(torch.zeros(members, d_out, config.r))

    def forward(self, x: Tensor, members: slice) -> Tensor:
        """Map x (..., d_in) to the targets' updates side by side (..., n * d_out)."""
        A, B = self.A[members], self.B[members]
        low = F.linear(F.dropout(x, self.dropout, self.training), A.flatten(0, 1))
        if len(A) == 1:
            return F.linear(low, B[0]) * self.scale
        parts = zip(low.chunk(len(A), dim=-1), B, strict=True)
        return torch.cat([F.linear(part, b) for part, b in parts], dim=-1) * self.scale

    def delta(self, members: slice) -> Tensor:
        """Return scale * B A of some targets, (n, d_out, d_in)."""
        return self.scale * (self.B[members] @ self.A[members])


@ADAPTERS.register("lora", config=LoRAConfig)
class LoRA(LowRankAdapter):
    """LoRA on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found.
    """

    config: LoRAConfig

    def __init__(self, config: LoRAConfig, model: nn.Module) -> None:
        super().__init__(config, model, targets=find_targets(model, config.target_modules))

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Factors:
        """Return the factors of all targets of one shape."""
        return Factors(targets[0].d_in, targets[0].d_out, len(targets), self.config)

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slices' A stacked, and their B in their own rows and columns."""
        A, B = [], []
        for share in self.shares[module]:
            factors = cast("Factors", self.groups[share.group])
            for rows, a, b in zip(share.rows, factors.A[share.members], factors.B[share.members], strict=True):
                A.append(a)
                B.append(b.new_zeros(len(weight), self.config.r))
                B[-1][rows] = b
        return torch.cat(A), torch.cat(B, dim=1)

    def lora_alpha(self, rank: int) -> float:
        """Return that of the config, scaled with the rank."""
        return rank / self.config.r * self.config.lora_alpha  # exactly its own at its own rank
