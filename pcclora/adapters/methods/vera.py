"""``vera``: frozen random matrices that all targets share, between two trained vectors of each.

Kopiczko et al., VeRA: Vector-based Random Matrix Adaptation (arXiv 2310.11454):

    dW = A diag(l) B diag(b)        A (d_in, r), B (r, d_out) frozen and shared, l (r) and b (d_out) of each target

From the paper: everything; l starts at 0.1, b at zero, so the start is the base's. As in Hugging Face peft, one A and
one B serve targets of all shapes: they are drawn once, Kaiming-uniform, from ``seed``, for the largest width, and a
smaller target takes their first columns and rows; and there is no factor alpha / r. Ours: A and B are not in the
adapter's file. They are drawn again, bit for bit on every machine, from the seed in its settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.lowrank import LowRankAdapter
from pcclora.adapters.targets import Target, find_targets
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class VeRAConfig(AdapterConfig):
    """Settings of VeRA, in Hugging Face peft's words.

    Attributes:
        r: Rank.
        seed: Of the frozen matrices; it belongs to what is trained, as the file's settings say.
        d_initial: What l starts from.
        vera_dropout: Of the input of A, in training.
        target_modules: Patterns as ``blocks.*.attn.qkv[q,v]``. None takes ``qkv[q,k,v]`` and ``proj`` of every
            attention.
    """

    shown: ClassVar[tuple[str, ...]] = ("r",)
    about: ClassVar[About | None] = About(
        "W + A diag(l) B diag(b), A and B random and frozen, shared by all",
        "VeRA (2310.11454)",
        "the random matrices are drawn again from the seed, not stored",
    )

    r: int = 256
    seed: int = 0
    d_initial: float = 0.1
    vera_dropout: float = 0.0
    target_modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.r < 1 or self.seed < 0 or not 0 <= self.vera_dropout < 1 or not np.isfinite(self.d_initial):
            raise PccloraError(
                f"r is {self.r}, at least 1; seed is {self.seed}, at least 0; d_initial is {self.d_initial}, finite; "
                f"vera_dropout is {self.vera_dropout}, in [0, 1)"
            )


class Vectors(nn.Module):
    """The vectors of all targets of one shape, and what they see of the frozen matrices.

    Args:
        A: (r, d_in), frozen.
        B: (d_out, r), frozen.
        members: Number m of targets.
        config: Start and dropout.
    """

    A: Tensor
    B: Tensor

    def __init__(self, A: Tensor, B: Tensor, members: int, config: VeRAConfig) -> None:
        super().__init__()
        self.dropout = config.vera_dropout
        self.register_buffer("A", A, persistent=False)
        self.register_buffer("B", B, persistent=False)
        self.l = nn.Parameter(torch.full((members, config.r), config.d_initial))
        self.b = nn.Parameter(torch.zeros(members, len(B)))

    def forward(self, x: Tensor, members: slice) -> Tensor:
        """Map x (..., d_in) to the targets' updates side by side (..., n * d_out)."""
        low = F.linear(F.dropout(x, self.dropout, self.training), self.A)
        pairs = zip(self.l[members], self.b[members], strict=True)
        return torch.cat([F.linear(low * left, self.B) * right for left, right in pairs], dim=-1)

    def delta(self, members: slice) -> Tensor:
        """Return the updates of some targets, (n, d_out, d_in)."""
        return self.b[members][:, :, None] * (self.B * self.l[members][:, None]) @ self.A


@ADAPTERS.register("vera", config=VeRAConfig)
class VeRA(LowRankAdapter):
    """VeRA on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found.
    """

    config: VeRAConfig

    def __init__(self, config: VeRAConfig, model: nn.Module) -> None:
        targets = find_targets(model, config.target_modules)
        self._frozen = shared_matrices(
            config.seed, config.r, max(target.d_in for target in targets), max(target.d_out for target in targets)
        )
        super().__init__(config, model, targets=targets)

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Vectors:
        """Return the vectors of all targets of one shape."""
        A, B = self._frozen
        return Vectors(A[:, : targets[0].d_in], B[: targets[0].d_out], len(targets), self.config)

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return A, once for all slices of a shape, and diag(l) B diag(b) of each slice in its rows."""
        A, B = [], []
        for share in self.shares[module]:
            own = cast("Vectors", self.groups[share.group])
            A.append(own.A)
            B.append(own.B.new_zeros(len(weight), self.config.r))
            for rows, left, right in zip(share.rows, own.l[share.members], own.b[share.members], strict=True):
                B[-1][rows] = right[:, None] * own.B * left
        return torch.cat(A), torch.cat(B, dim=1)

    def lora_alpha(self, rank: int, module: str) -> float:
        """Return the rank: VeRA has no scale."""
        return rank


def shared_matrices(seed: int, r: int, d_in: int, d_out: int) -> tuple[Tensor, Tensor]:
    """Return A (r, d_in) and B (d_out, r), Kaiming-uniform, float32, the same on every machine.

    Args:
        seed: Another seed, other matrices.
        r: Rank.
        d_in: Largest width of an input.
        d_out: Largest width of an update.
    """
    uniform = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed))).random

    def draw(rows: int, columns: int) -> Tensor:
        bound = (6 / columns) ** 0.5  # of Kaiming-uniform with gain sqrt(2)
        return torch.from_numpy(((2 * uniform((rows, columns)) - 1) * bound).astype(np.float32))

    return draw(r, d_in), draw(d_out, r)
