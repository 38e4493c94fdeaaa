"""What methods that add a branch share: bottlenecks C -> m -> C, how their maps start, stochastic depth."""

from collections.abc import Callable, Sequence
from math import gcd, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.errors import PccloraError

Start = Callable[[Tensor], Tensor]
zero: Start = nn.init.zeros_


def kaiming(maps: Tensor) -> Tensor:
    """Fill maps (..., d_out, d_in) as torch starts a linear map: Kaiming-uniform with a = sqrt 5."""
    bound = maps.shape[-1] ** -0.5
    return nn.init.uniform_(maps, -bound, bound)


def xavier(maps: Tensor) -> Tensor:
    """Fill maps (..., d_out, d_in) Xavier-uniformly, each by its own widths."""
    bound = sqrt(6 / sum(maps.shape[-2:]))
    return nn.init.uniform_(maps, -bound, bound)


def small_normal(maps: Tensor) -> Tensor:
    """Fill maps from a normal of std 0.01 that is cut at two deviations, as Houlsby et al. do."""
    return nn.init.trunc_normal_(maps, std=0.01, a=-0.02, b=0.02)


def quick_gelu(x: Tensor) -> Tensor:
    """Return x sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


def refuse_uneven(groups: int, widths: Sequence[int]) -> None:
    """Refuse groups that do not divide widths, and name those that would.

    Raises:
        PccloraError: If there is a width that they do not divide.
    """
    common = gcd(*widths)
    if common % groups:
        named = ", ".join(map(str, dict.fromkeys(widths)))
        would = ", ".join(str(number) for number in range(1, common + 1) if common % number == 0)
        raise PccloraError(f"groups is {groups}, which does not divide all of the widths {named}; choose of {would}")


def drop_path(branch: Tensor, rate: float, training: bool) -> Tensor:
    """Drop the whole branch (B, ...) of a sample with a probability, in training, and scale the others up for it."""
    if rate == 0 or not training:
        return branch
    return branch * F.dropout(branch.new_ones(len(branch), *[1] * (branch.ndim - 1)), rate)


class Bottlenecks(nn.Module):
    """One bottleneck f(x A + b1) C + b2 for each place.

    Args:
        count: How many.
        C: Width of a token.
        m: Width between.
        act: The non-linearity f; a named function, so that copies and pickles find it.
        down: How A starts.
        up: How C starts; biases start at zero.
        dropout: In front of C, in training.
        bias: Whether both maps have biases.
        groups: C is cut into so many groups, which divide m and C: each feeds its part of the outputs from its own of
            the m channels.

    Raises:
        PccloraError: If m is wider than a token.
    """

    def __init__(
        self,
        count: int,
        C: int,
        m: int,
        *,
        act: Callable[[Tensor], Tensor],
        down: Start,
        up: Start = zero,
        dropout: float = 0.0,
        bias: bool = True,
        groups: int = 1,
    ) -> None:
        super().__init__()
        if m > C:
            raise PccloraError(f"m is {m}, and the tokens are {C} wide: a bottleneck is no wider; choose m up to {C}")
        self.act, self.dropout, self.groups = act, dropout, groups
        self.down = nn.Parameter(down(torch.empty(count, m, C)))
        self.up = nn.Parameter(up(torch.empty(count, C, m // groups)))
        self.down_bias = nn.Parameter(torch.zeros(count, m)) if bias else None
        self.up_bias = nn.Parameter(torch.zeros(count, C)) if bias else None

    def forward(self, x: Tensor, place: int) -> Tensor:
        """Map tokens (B, T, C) to (B, T, C)."""
        return self.widen(self.narrow(x, place), place)

    def narrow(self, x: Tensor, place: int) -> Tensor:
        """Map tokens (B, T, C) to f(x A + b1) (B, T, m)."""
        bias = None if self.down_bias is None else self.down_bias[place]
        return self.act(F.linear(x, self.down[place], bias))

    def widen(self, low: Tensor, place: int) -> Tensor:
        """Map (B, T, m) to (B, T, C)."""
        bias = None if self.up_bias is None else self.up_bias[place]
        return F.linear(F.dropout(low, self.dropout, self.training), self.up_map(place), bias)

    def up_map(self, place: int) -> Tensor:
        """Return C in torch's form (C, m), with zeros between groups."""
        up = self.up[place]
        return up if self.groups == 1 else torch.block_diag(*up.chunk(self.groups))  # type: ignore[no-untyped-call]
