"""``adapter_plus``: a bottleneck behind every block, scaled channel by channel.

Steitz and Roth, Adapters Strike Back (arXiv 2406.06820). With y what a block gives:

    y <- y + g * drop(GELU(y A + b1) C + b2)          A (C, m), C (m, C), g (C)

From the paper: the place, the channel scale g that starts at one, stochastic depth of the branch at 0.1, m = 8, and the
start, A and C from a normal of std 0.01 cut at two deviations and biases zero, which is near the base
(``init="paper"``). Ours: C zero, so that the start is the base's (``init="zero"``, the default).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.branches import Bottlenecks, drop_path, small_normal, zero
from pcclora.adapters.places import Place, find_places, token_width
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class AdapterPlusConfig(AdapterConfig):
    """Settings of Adapter+.

    Attributes:
        m: Width of the bottleneck.
        init: ``zero`` starts at the base; ``paper`` near it.
        drop_path: Probability of dropping a sample's branch, in training.
    """

    shown: ClassVar[tuple[str, ...]] = ("m", "init")
    about: ClassVar[About | None] = About(
        "y + g * (GELU(y A + b) C + c), y what a block gives",
        "Adapter+ (2406.06820)",
        "starts at the base unless told otherwise",
    )

    m: int = 8
    init: Literal["zero", "paper"] = "zero"
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.m < 1 or not 0 <= self.drop_path < 1 or self.init not in ("zero", "paper"):
            raise PccloraError(
                f"m is {self.m}, at least 1; drop_path is {self.drop_path}, in [0, 1); init is '{self.init}', "
                "zero or paper"
            )


@ADAPTERS.register("adapter_plus", config=AdapterPlusConfig)
class AdapterPlus(Adapter):
    """Adapter+ on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model does not say where its blocks are, or m is above the width of its tokens.
    """

    config: AdapterPlusConfig

    def __init__(self, config: AdapterPlusConfig, model: nn.Module) -> None:
        blocks = find_places(model, ["block"])
        super().__init__(config, model, places=blocks)
        self.starts_at_base = config.init == "zero"
        like = next(model.get_submodule(blocks[0].module).parameters())
        count, C = len(blocks), token_width(model, blocks[0])
        up = zero if config.init == "zero" else small_normal
        self.bottlenecks = Bottlenecks(count, C, config.m, act=F.gelu, down=small_normal, up=up).to(like)
        self.scales = nn.Parameter(torch.ones(count, C).to(like))

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Add the scaled branch to what a block gives (B, T, C)."""
        branch = drop_path(self.bottlenecks(output, place.index), self.config.drop_path, self.training)
        return torch.addcmul(output, branch, self.scales[place.index])
