"""``fact_tt``, ``fact_tk``: one pair of bases for every map of the network, and a small core between them for each.

Jie and Deng, FacT: Factor-Tuning for Lightweight Adaptation on Vision Transformer (arXiv 2212.03145): the updates of
all maps, (d, d) each, are one tensor, and that tensor is factorised:

    dW_i = s U S_i V            U (d, r) and V (r, d) shared by all maps, S_i (r, r) of each
    tensor-train (TT): S_i is trained.       Tucker (TK): S_i = sum_k C[:, :, k] P_i[k], C (r, r, r) shared, P_i (r)

A map that is wider than d is cut in chunks of d, each with a core of its own: the outputs of the first map of an MLP
(d -> 4 d), the inputs of the second. So 12 cores a block, 2 d r + 12 L r^2 numbers (TT) or 2 d r + 12 L r + r^3 (TK).

From the paper and its code: all of this; dropout between S and V; V zero, U and S Kaiming-uniform, C and P
Xavier-uniform, so the start is the base's; cores in the order of the modules, chunks in the order of their rows. Ours:
d is the width of the narrowest map, and a last chunk that is narrower, as of a slice, takes the first rows of U or the
first columns of V, so that any target will do. The released code of TK relabels the cores of MLPs, chunk against
column; here they are as above (tests/adapters/test_method_goldens.py has the relabelling).

On attention alone, with q, k and v apart, TT is CLoRA with one basis. At r = 16 it trains in a ViT-B/16 the 61,440
numbers that CLoRA trains at r = 8 with four bases (tests/adapters/test_fact.py, test_counts.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.lowrank import LowRankAdapter, Share
from pcclora.adapters.targets import Target, block_targets, find_targets
from pcclora.errors import PccloraError
from pcclora.limits import check_parameters
from pcclora.registry import ADAPTERS


@dataclass
class FacTConfig(AdapterConfig):
    """Settings of both forms.

    Attributes:
        r: Rank; at most the width of the narrowest map.
        scale: Factor s of the updates; the paper searches it for each task in .01, .1, 1, 10, 100.
        dropout: Of x U S, the low-rank activations, in training.
        target_modules: Patterns as ``blocks.*.attn.qkv[q,v]``. None takes ``qkv[q,k,v]`` and ``proj`` of every
            attention and all maps of every MLP.
    """

    shown: ClassVar[tuple[str, ...]] = ("r", "scale")

    r: int = 16
    scale: float = 1.0
    dropout: float = 0.1
    target_modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.r < 1 or not 0 <= self.dropout < 1 or not isfinite(self.scale):
            raise PccloraError(
                f"r is {self.r}, at least 1; dropout is {self.dropout}, in [0, 1); scale is {self.scale}, finite"
            )


@dataclass
class FacTTTConfig(FacTConfig):
    """Settings of the tensor-train form."""

    about: ClassVar[About | None] = About(
        "x W + s x U S V, U and V shared by all maps of the network, S of each",
        "FacT (2212.03145)",
        "a chunk narrower than the width takes the first rows of U, or columns of V",
    )


@dataclass
class FacTTKConfig(FacTConfig):
    """Settings of the Tucker form."""

    about: ClassVar[About | None] = About(
        "x W + s x U S V, S = sum_k C_k P_k, U, V and C shared by all maps of the network",
        "FacT (2212.03145)",
        "cores of MLPs as they are meant: released code relabels chunk against column, which is the same set of "
        "functions",
    )

    r: int = 32


class Cores(nn.Module):
    """What each target of one shape has of its own: something for each of its a x b pairs of chunks.

    Args:
        size: (m, a, b, ...) of m targets.
        bound: Of their uniform start.
    """

    def __init__(self, size: Sequence[int], bound: float) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.empty(*size).uniform_(-1, 1) * bound)


class FacT(LowRankAdapter):
    """What both forms share.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found, or the rank is above their width.
    """

    config: FacTConfig

    def __init__(self, config: FacTConfig, model: nn.Module) -> None:
        targets = find_targets(model, config.target_modules, default=block_targets)
        weights = [model.get_parameter(f"{target.module}.weight") for target in targets]
        self.d_in = min(min(weight.shape) for weight in weights)
        self.d_out = min(self.d_in, max(target.d_out for target in targets))  # no column of V that nothing uses
        if config.r > self.d_in:
            raise PccloraError(f"r is {config.r}, but the narrowest target is {self.d_in} wide; choose at most that")
        self.chunks = sum(prod(self._chunks(target)) for target in targets)
        check_parameters(config.r * (2 * self.d_in + self.chunks * config.r), f"r {config.r}")
        super().__init__(config, model, targets=targets)
        U = torch.empty(self.d_in, config.r).uniform_(-1, 1) * self.d_in**-0.5  # Kaiming-uniform, a = sqrt(5)
        self.U = nn.Parameter(U.to(weights[0]))
        self.V = nn.Parameter(torch.zeros(config.r, self.d_out).to(weights[0]))

    def cores(self, share: Share) -> Tensor:
        """Return the cores S (n, a, b, r, r) of a module's targets of one shape, one for each pair of chunks."""
        raise NotImplementedError

    def update(self, x: Tensor, share: Share) -> Tensor:
        """Map x (..., d_in) to the targets' updates side by side (..., n * d_out)."""
        S, (_, wide), lead = self.cores(share), self._widths(share), x.shape[:-1]
        n, a, b, r, _ = S.shape
        parts = F.pad(x, (0, a * self.d_in - x.shape[-1])).view(*lead, a, self.d_in)
        low = (parts @ self.U).flatten(-2) @ S.permute(1, 3, 0, 2, 4).reshape(a * r, n * b * r)
        low = F.dropout(low, self.config.dropout, self.training).view(*lead, n, b, r)
        return (low @ (self.config.scale * self.V)).flatten(-2)[..., :wide].flatten(-2)

    def deltas(self, share: Share) -> Tensor:
        """Return s U S V of a module's targets of one shape in torch's form, (n, d_out, d_in)."""
        narrow, wide = self._widths(share)
        delta = self.config.scale * torch.einsum("ir,nabrs,so->nboai", self.U, self.cores(share), self.V)
        return delta.flatten(3).flatten(1, 2)[:, :wide, :narrow]

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return U for each chunk of inputs, once for all slices of a shape, and S V of each slice in its rows."""
        A, B = [], []
        for share in self.shares[module]:
            S, (narrow, wide) = self.cores(share), self._widths(share)
            n, a, r = len(S), S.shape[1], self.config.r
            A.append(torch.einsum("ab,dr->arbd", torch.eye(a).to(S), self.U).reshape(a * r, -1)[:, :narrow])
            up = (S @ self.V).permute(0, 2, 4, 1, 3).reshape(n, -1, a * r)[:, :wide]
            B.append(up.new_zeros(len(weight), a * r))
            for rows, part in zip(share.rows, up, strict=True):
                B[-1][rows] = part
        return torch.cat(A), torch.cat(B, dim=1)

    def lora_alpha(self, rank: int, module: str) -> float:
        """Return the scale times the rank."""
        return self.config.scale * rank

    def _chunks(self, target: Target) -> tuple[int, int]:
        """Return in how many chunks a target's inputs and outputs are cut."""
        return -(-target.d_in // self.d_in), -(-target.d_out // self.d_out)

    def _widths(self, share: Share) -> tuple[int, int]:
        d_in, _, d_out = share.group.partition("x")
        return int(d_in), int(d_out)


@ADAPTERS.register("fact_tt", config=FacTTTConfig)
class FacTTT(FacT):
    """The tensor-train form on one model."""

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Cores:
        """Return the cores of all targets of one shape."""
        r = self.config.r
        return Cores((len(targets), *self._chunks(targets[0]), r, r), r**-0.5)  # Kaiming-uniform, a = sqrt(5)

    def cores(self, share: Share) -> Tensor:
        """Return the cores (n, a, b, r, r) of some targets."""
        S: Tensor = self.groups[share.group].get_parameter("own")[share.members]
        return S


@ADAPTERS.register("fact_tk", config=FacTTKConfig)
class FacTTK(FacT):
    """The Tucker form on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: As :class:`FacT`.
    """

    def __init__(self, config: FacTTKConfig, model: nn.Module) -> None:
        check_parameters(config.r**3, f"r {config.r}")
        super().__init__(config, model)
        C = torch.empty((config.r,) * 3).uniform_(-1, 1) * 3**0.5 / config.r  # Xavier-uniform, as torch counts its fans
        self.C = nn.Parameter(C.to(self.U))

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Cores:
        """Return the columns of P of all targets of one shape."""
        r = self.config.r
        return Cores((len(targets), *self._chunks(targets[0]), r), (6 / (r + self.chunks)) ** 0.5)  # P is (r, chunks)

    def cores(self, share: Share) -> Tensor:
        """Return the cores (n, a, b, r, r) of some targets: slices of C, weighted by their columns of P."""
        P = self.groups[share.group].get_parameter("own")[share.members]
        return torch.einsum("rsk,nabk->nabrs", self.C, P)
