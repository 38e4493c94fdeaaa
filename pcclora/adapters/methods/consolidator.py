"""``consolidator``: beside every linear map a block-diagonal one that reads shuffled channels, which merges.

Hao et al., Consolidator: Mergeable Adapter with Grouped Connections for Visual Adaptation (arXiv 2305.00603):

    y = x W + b + drop(shuffle(x) G + h)          G block-diagonal of g equal blocks, h (d_out)

shuffle takes the channels as (g, d_in / g) and lays them out as (d_in / g, g), so that a block reads from everywhere.
It merges: W takes up G with its rows in their old order, b takes up h. d_in d_out / g + d_out numbers a map.

From the paper: the maps (all of attention and MLP), g = 384, G and h uniform within 0.001 (``init="paper"``), which is
near the base, and stochastic depth of the branch, one rate for each task from 0, 0.2, 0.5 and 0.8; the default 0 is
ours. Ours: G and h zero, so that the start is the base's (``init="zero"``, the default); nothing else is needed, for
there is one factor only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.branches import drop_path, refuse_uneven
from pcclora.adapters.lowrank import LowRankAdapter
from pcclora.adapters.targets import Target, block_targets, find_targets, without_rows
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class ConsolidatorConfig(AdapterConfig):
    """Settings of Consolidator.

    Attributes:
        groups: Number g of blocks; it divides the widths of all targets.
        init: ``zero`` starts at the base; ``paper`` near it.
        drop_path: Probability of dropping a sample's branch, in training.
        target_modules: Patterns as ``blocks.*.attn.qkv[q,v]``; None takes all maps of every attention and every MLP,
            whole.
    """

    shown: ClassVar[tuple[str, ...]] = ("groups", "init")
    about: ClassVar[About | None] = About(
        "x W + b + shuffle(x) G + h, G of equal blocks on its diagonal",
        "Consolidator (2305.00603)",
        "starts at the base unless told otherwise",
    )

    groups: int = 384
    init: Literal["zero", "paper"] = "zero"
    drop_path: float = 0.0
    target_modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.groups < 1 or not 0 <= self.drop_path < 1 or self.init not in ("zero", "paper"):
            raise PccloraError(
                f"groups is {self.groups}, at least 1; drop_path is {self.drop_path}, in [0, 1); init is "
                f"'{self.init}', zero or paper"
            )


class Blocks(nn.Module):
    """The blocks and shifts of all targets of one shape.

    Args:
        members: Number m of targets.
        d_in: Width of their input.
        d_out: Number of their rows.
        config: Groups, start, stochastic depth.
    """

    def __init__(self, members: int, d_in: int, d_out: int, config: ConsolidatorConfig) -> None:
        super().__init__()
        self.groups, self.rate = config.groups, config.drop_path
        self.G = nn.Parameter(torch.zeros(members, d_out, d_in // config.groups))
        self.h = nn.Parameter(torch.zeros(members, d_out))
        if config.init == "paper":
            nn.init.uniform_(self.G, -1e-3, 1e-3)
            nn.init.uniform_(self.h, -1e-3, 1e-3)

    def forward(self, x: Tensor, members: slice) -> Tensor:
        """Map x (..., d_in) to the targets' updates side by side (..., n * d_out)."""
        grouped = x.reshape(*x.shape[:-1], self.groups, -1)
        shuffled = grouped.mT.reshape(grouped.shape)
        update = torch.einsum("...gi,ngoi->...ngo", shuffled, self._blocks(members)).flatten(-3)
        return drop_path(update + self.h[members].flatten(), self.rate, self.training)

    def delta(self, members: slice) -> Tensor:
        """Return G of some targets as it reads channels that are not shuffled, (n, d_out, d_in)."""
        blocks = self._blocks(members)
        n, g, d_out, d_in = blocks.shape
        whole = torch.einsum("ngoi,gh->ngohi", blocks, torch.eye(g).to(blocks)).view(n, g * d_out, d_in, g)
        return whole.mT.flatten(-2)

    def _blocks(self, members: slice) -> Tensor:
        """Return the blocks (n, g, d_out / g, d_in / g) of some targets."""
        G = self.G[members]
        return G.view(len(G), self.groups, -1, G.shape[-1])


@ADAPTERS.register("consolidator", config=ConsolidatorConfig)
class Consolidator(LowRankAdapter):
    """Consolidator on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found, or the groups do not divide their widths.
    """

    config: ConsolidatorConfig
    sums = True

    def __init__(self, config: ConsolidatorConfig, model: nn.Module) -> None:
        targets = find_targets(model, config.target_modules, default=whole_maps)
        refuse_uneven(config.groups, sorted({width for target in targets for width in (target.d_in, target.d_out)}))
        super().__init__(config, model, targets=targets)
        self.starts_at_base = config.init == "zero"

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Blocks:
        """Return the blocks of all targets of one shape."""
        return Blocks(len(targets), targets[0].d_in, targets[0].d_out, self.config)

    def merged(self, module: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return W + G in torch's form, and b + h in the targets' rows; a bias appears where there was none."""
        merged, _ = super().merged(module, weight, bias)
        shifted = weight.new_zeros(len(weight)) if bias is None else bias.clone()
        for share in self.shares[module]:
            own = self.groups[share.group].get_parameter("h")[share.members]
            for rows, shift in zip(share.rows, own, strict=True):
                shifted[rows] += shift
        return merged, shifted

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Refuse: G has full rank, and h is no product.

        Raises:
            PccloraError: Always.
        """
        raise PccloraError(f"target '{module}': what Consolidator adds is no low-rank product; merge, or save_adapter")


def whole_maps(model: nn.Module) -> tuple[str, ...]:
    """Return the maps of :func:`~pcclora.adapters.targets.block_targets`, each with all its rows."""
    return without_rows(block_targets(model))
