"""``repadapter``: a bottleneck without non-linearity in front of attention and MLP, which merges.

Luo et al., Towards Efficient Visual Adaption via Structural Re-parameterization (arXiv 2302.08106), RepAdapter:

    x' = x + s (drop(x A + a) C + c)          A (C, m), C (m, C)

in front of qkv and of the first map of the MLP, each with its own. C is grouped: the first half of the m channels feeds
the first half of the outputs, the second the second. It merges into the map: W' = (I + s A C) W, b' = b + s (a C + c)
W.

From the paper: the places, m = 8, two groups, dropout 0.1, the start (A Xavier-uniform, the rest zero, so that it is
the base's), and s, which it chooses task by task from 0.1, 0.5, 1, 5 and 10; the default 1 is ours. Where q, k and v
are three maps, each has its own.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.branches import Bottlenecks, identity, refuse_uneven, xavier
from pcclora.adapters.in_front import InFrontAdapter
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class RepAdapterConfig(AdapterConfig):
    """Settings of RepAdapter.

    Attributes:
        m: Width of the bottleneck.
        groups: Of the map up; they divide m and the width of what the targets read.
        scale: Factor s of what it adds.
        dropout: In front of the map up, in training.
        target_modules: Patterns of whole linear maps; None takes every ``qkv`` and every first map of an MLP.
    """

    shown: ClassVar[tuple[str, ...]] = ("m", "scale")
    about: ClassVar[About | None] = About(
        "x + s ((x A + a) C + c) in front of a map, C in two groups", "RepAdapter (2302.08106)"
    )

    m: int = 8
    groups: int = 2
    scale: float = 1.0
    dropout: float = 0.1
    target_modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if min(self.m, self.groups) < 1 or not 0 <= self.dropout < 1 or not isfinite(self.scale):
            raise PccloraError(
                f"m is {self.m} and groups {self.groups}, at least 1; dropout is {self.dropout}, in [0, 1); "
                f"scale is {self.scale}, finite"
            )


@ADAPTERS.register("repadapter", config=RepAdapterConfig)
class RepAdapter(InFrontAdapter):
    """RepAdapter on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found, are slices, or have widths that m or the groups do not suit.
    """

    config: RepAdapterConfig

    def __init__(self, config: RepAdapterConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        refuse_uneven(config.groups, [config.m, *(target.d_in for target in self.targets)])
        self.bottlenecks = nn.ModuleDict()
        for kind, modules in self.kinds.items():
            weight = model.get_parameter(f"{modules[0]}.weight")
            widths = (len(modules), weight.shape[1], config.m)
            stack = Bottlenecks(*widths, act=identity, down=xavier, dropout=config.dropout, groups=config.groups)
            self.bottlenecks[kind] = stack.to(weight)

    def added(self, module: str, x: Tensor) -> Tensor:
        """Return s (drop(x A + a) C + c)."""
        kind, place = self.own[module]
        return torch.mul(self.bottlenecks[kind](x, place), self.config.scale)

    def affine(self, module: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return A, s C and s (a C + c)."""
        kind, place = self.own[module]
        stack: Any = self.bottlenecks[kind]
        A, C, s = stack.down[place].T, stack.up_map(place).T, self.config.scale
        return A, s * C, s * (stack.down_bias[place] @ C + stack.up_bias[place])
