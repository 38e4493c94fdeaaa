"""CLoRA: low-rank modules that share their projection bases and keep tiny cores of their own.

Liu, Zhu, Huang, Collaborative Low-Rank Adaptation for Pre-Trained Vision Transformers (arXiv 2512.24603). All targets
of one shape share p pairs of bases; target j keeps p cores:

    D_h (d_in, r)  down     U_h (r, d_out)  up     Q_h^j (r, r)  core          dW_j = s * sum_h D_h Q_h^j U_h

so p * (2 d r + m r^2) parameters serve m targets, and the rank of an update is up to p r. Fewer targets may share
(``share``): those of a shape in one half of the blocks, p * (4 d r + m r^2) in all; or those of one role, as all q,
p * (8 d r + m r^2) for q, k, v and the output. In a ViT-B/16 at r = 8, p = 4 the three train 61,440, 110,592 and
208,896 numbers, in Point-MAE 36,864, 61,440 and 110,592. SADE, the paper's regulariser, keeps the p products
W_h = D_h Q_h U_h of a target apart: sum over h < l of ||W_h^T W_l||_F^2.

From the paper: the shared bases, the private cores, the parameter count, a penalty of similarity computed from the
parameters alone. Ours, where its text could not be read: the initialisation (D and Q Kaiming-uniform, U zero), the
scale, the exact pairs of the penalty and its mean over targets, its cosine form, the default placement and number of
bases; and sharing among fewer.

The penalty never forms a d x d matrix. With G_hl = D_h^T D_l and S_h = Q_h (U_h U_h^T) Q_h^T, all r x r,
||W_h^T W_l||_F^2 = tr(S_h G_hl S_l G_lh): O(p^2 d r^2) once and O(p^2 r^3) a target, not O(p^2 d^3). Value and
gradients agree with the plain form to 1e-12 in float64 (tests/adapters/test_clora.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.lowrank import LowRankAdapter, Share
from pcclora.adapters.targets import Target, attention_targets, find_targets, input_targets, refuse_slices
from pcclora.errors import PccloraError
from pcclora.limits import check_parameters
from pcclora.registry import ADAPTERS


@dataclass
class CLoRAConfig(AdapterConfig):
    """Settings of CLoRA.

    Attributes:
        r: Rank of one basis.
        bases: Number p of pairs of bases; 1 is FacT-TT's sharing.
        scale: Factor s of the update.
        dropout: Of x D Q, the low-rank activations, in training.
        diversity: Weight of SADE in the loss; 0 is off.
        diversity_form: ``frobenius`` as in the paper, which smaller updates lower too; ``cosine`` divides each pair by
            ||W_h||_F^2 ||W_l||_F^2, so that only directions count.
        placement: ``weight`` adds x dW to the output; ``input`` puts x + x dW in front of the frozen map.
        share_cores: One set of cores for all targets that share bases: the paper's ablation CLoRA#.
        target_modules: Patterns as ``blocks.*.attn.qkv[q,v]``. None takes ``qkv[q,k,v]`` and ``proj`` of every
            attention for ``weight``, ``qkv`` and ``fc1`` for ``input``.
        share: Who shares bases: all targets of one ``shape``; those of one in either ``half`` of the blocks that have
            targets; those of one that also have one ``role``, the last part of their name with its rows.
    """

    shown: ClassVar[tuple[str, ...]] = ("r", "bases", "placement", "diversity", "share_cores")
    about: ClassVar[About | None] = About(
        "W + s sum_h D_h Q_h U_h, D and U shared by all targets of a shape",
        "CLoRA (2512.24603)",
        "SADE through r x r products; cores private unless told otherwise",
    )
    later: ClassVar[tuple[str, ...]] = ("share",)

    r: int = 8
    bases: int = 4
    scale: float = 1.0
    dropout: float = 0.0
    diversity: float = 1e-3
    diversity_form: Literal["frobenius", "cosine"] = "frobenius"
    placement: Literal["weight", "input"] = "weight"
    share_cores: bool = False
    target_modules: tuple[str, ...] | None = None
    share: Literal["shape", "half", "role"] = "shape"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.r < 1 or self.bases < 1:
            raise PccloraError(f"r is {self.r} and bases is {self.bases}; both are at least 1")
        if not (0 <= self.dropout < 1 and 0 <= self.diversity < inf and isfinite(self.scale)):
            raise PccloraError(
                f"dropout is {self.dropout}, in [0, 1); diversity is {self.diversity}, at least 0; scale is "
                f"{self.scale}, finite"
            )
        choices = {
            "diversity_form": ("frobenius", "cosine"),
            "placement": ("weight", "input"),
            "share": ("shape", "half", "role"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise PccloraError(f"{name} is '{getattr(self, name)}'; it is one of {', '.join(known)}")


class SharedBases(nn.Module):
    """The bases that all targets of one shape share, and their cores.

    Args:
        d_in: Width of the input.
        d_out: Width of the update.
        members: Number m of targets.
        config: Rank, number of bases, dropout.
    """

    def __init__(self, d_in: int, d_out: int, members: int, config: CLoRAConfig) -> None:
        super().__init__()
        p, r = config.bases, config.r
        check_parameters(p * r * (d_in + d_out + members * r), f"bases {p}, r {r}")
        self.scale, self.dropout, self.share_cores = config.scale, config.dropout, config.share_cores
        self.members = members
        self.D = nn.Parameter(torch.empty(p, d_in, r).uniform_(-1, 1) * d_in**-0.5)  # Kaiming-uniform, a = sqrt(5)
        self.U = nn.Parameter(torch.zeros(p, r, d_out))
        self.Q = nn.Parameter(torch.empty(1 if config.share_cores else members, p, r, r).uniform_(-1, 1) * r**-0.5)

    def cores(self, members: slice) -> Tensor:
        """Return the cores (n, p, r, r) of some targets."""
        return self.Q.expand(members.stop - members.start, -1, -1, -1) if self.share_cores else self.Q[members]

    def forward(self, x: Tensor, members: slice) -> Tensor:
        """Map x (..., d_in) to the targets' updates side by side (..., n * d_out)."""
        Q, D = self.cores(members), self.D.transpose(0, 1).flatten(1)  # (n, p, r, r), (d_in, p r)
        low = x @ D
        if self.training and self.dropout > 0:
            low = torch.einsum("...hr,nhrs->...nhs", low.view(*low.shape[:-1], *self.U.shape[:2]), Q)
            low = F.dropout(low, self.dropout).flatten(-2)  # (..., n, p r)
            return (low @ (self.scale * self.U.flatten(0, 1))).flatten(-2)
        up = self.scale * (Q @ self.U)  # (n, p, r, d_out)
        return low @ up.permute(1, 2, 0, 3).flatten(2).flatten(0, 1)

    def delta(self, members: slice) -> Tensor:
        """Return s * sum_h D_h Q_h U_h of some targets in torch's form, (n, d_out, d_in)."""
        return self.scale * torch.einsum("hir,nhrs,hso->noi", self.D, self.cores(members), self.U)

    def overlap(self, form: str) -> Tensor:
        """Return SADE summed over the targets: for each, the sum over pairs h < l of how alike W_h and W_l are."""
        G = torch.einsum("hir,lis->hlrs", self.D, self.D)
        S = self.Q @ (self.U @ self.U.transpose(1, 2)) @ self.Q.transpose(-1, -2)  # (m, p, r, r)
        if form == "cosine":
            square = torch.einsum("mhrs,hhsr->mh", S, G)  # ||W_h||_F^2
            S = S / square.clamp_min(1e-30)[..., None, None]
        A = torch.einsum("mhrs,hlst->mhlrt", S, G)
        pairs = torch.einsum("mhlrt,mlhtr->mhl", A, A)
        total = pairs.triu(1).sum()  # the pairs themselves: subtracting the diagonal would cost digits
        return total * self.members if self.share_cores else total


@ADAPTERS.register("clora", config=CLoRAConfig)
class CLoRA(LowRankAdapter):
    """CLoRA on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found, or ``input`` placement is asked for slices.
    """

    config: CLoRAConfig

    def __init__(self, config: CLoRAConfig, model: nn.Module) -> None:
        default = attention_targets if config.placement == "weight" else input_targets
        targets = find_targets(model, config.target_modules, default=default)
        if config.placement == "input":
            refuse_slices(targets, "placement 'input'")
        self._blocks = [*dict.fromkeys(_block(target.module) for target in targets)]
        super().__init__(config, model, targets=targets)

    def width(self, target: Target) -> int:
        """Return the width of a target's update: that of what it is added to."""
        return target.d_in if self.config.placement == "input" else target.d_out

    def group_of(self, target: Target) -> str:
        """Return the name of those with which a target shares its bases: ``768x768``, ``768x768_qkv[q]``."""
        shape = super().group_of(target)
        if self.config.share == "role":
            return f"{shape}_{str(target).rpartition('.')[2]}"
        if self.config.share == "half":
            early = 2 * self._blocks.index(_block(target.module)) < len(self._blocks)
            return f"{shape}_{'first' if early else 'second'}"
        return shape

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> SharedBases:
        """Return the bases and cores of all targets of one shape."""
        return SharedBases(targets[0].d_in, self.width(targets[0]), len(targets), self.config)

    def linear(self, module: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute x W + s x dW + b (``weight``) or (x + s x dW) W + b (``input``)."""
        if self.config.placement == "weight":
            return super().linear(module, x, weight, bias)
        (share,) = self.shares[module]
        return F.linear(x + self._bases(share)(x, share.members), weight, bias)

    def merged(self, module: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return W + s dW (``weight``) or (I + s dW) W (``input``), in torch's (d_out, d_in) form."""
        if self.config.placement == "weight":
            return super().merged(module, weight, bias)
        (share,) = self.shares[module]
        return weight + weight @ self.deltas(share)[0], bias

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return D stacked, once for all slices of a shape, and Q U of each slice in its rows; rank p r a shape."""
        A, B = [], []
        for share in self.shares[module]:
            bases = self._bases(share)
            A.append(bases.D.transpose(1, 2).flatten(0, 1))
            up = (bases.cores(share.members) @ bases.U).flatten(1, 2)  # (n, p r, width)
            if self.config.placement == "input":
                B.append(weight @ up[0].T)
                continue
            B.append(up.new_zeros(len(weight), up.shape[1]))
            for rows, part in zip(share.rows, up, strict=True):
                B[-1][rows] = part.T
        return torch.cat(A), torch.cat(B, dim=1)

    def lora_alpha(self, rank: int, module: str) -> float:
        """Return the scale times the rank."""
        return self.config.scale * rank

    def regularization(self) -> Tensor:
        """Return ``diversity`` * mean over targets of SADE, a scalar."""
        groups = [cast("SharedBases", group) for group in self.groups.values()]
        if self.config.diversity == 0 or self.config.bases == 1:
            return groups[0].D.new_zeros(())
        total = torch.stack([group.overlap(self.config.diversity_form) for group in groups]).sum()
        return self.config.diversity * total / len(self.targets)

    def _bases(self, share: Share) -> SharedBases:
        return cast("SharedBases", self.groups[share.group])


def _block(module: str) -> str:
    """Return the name of the block that a module is in: up to its first number, or all of it if it has none."""
    parts = module.split(".")
    first = next((i for i, part in enumerate(parts) if part.isdecimal()), len(parts))
    return ".".join(parts[: first + 1])
