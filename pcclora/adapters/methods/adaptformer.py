"""``adaptformer``: a bottleneck beside the MLP of every block.

Chen et al., AdaptFormer: Adapting Vision Transformers for Scalable Visual Recognition (arXiv 2205.13535). With u the
tokens behind the attention, before the norm:

    y = u + MLP(N2(u)) + s (ReLU(u A + b1) C + b2)          A (C, m), C (m, C)

From the paper: the place, reading u before the norm, the start (A Kaiming-uniform with a = sqrt 5, biases and C zero,
so that the output is the base's), dropout 0.1 behind the ReLU, m = 64 and s = 0.1. The rows of VTAB-1K tables have m =
8, no biases, and s chosen task by task: ``m=8 bias=false scale=1.0``.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.branches import Bottlenecks, kaiming
from pcclora.adapters.places import Place, find_places, token_width
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class AdaptFormerConfig(AdapterConfig):
    """Settings of AdaptFormer.

    Attributes:
        m: Width of the bottleneck.
        scale: Factor s of the branch.
        dropout: Behind the ReLU, in training.
        bias: Whether both maps have biases.
    """

    shown: ClassVar[tuple[str, ...]] = ("m", "scale")
    about: ClassVar[About | None] = About("block(u) + s (ReLU(u A + b) C + c)", "AdaptFormer (2205.13535)")

    m: int = 64
    scale: float = 0.1
    dropout: float = 0.1
    bias: bool = True

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.m < 1 or not 0 <= self.dropout < 1 or not isfinite(self.scale):
            raise PccloraError(
                f"m is {self.m}, at least 1; dropout is {self.dropout}, in [0, 1); scale is {self.scale}, finite"
            )


@ADAPTERS.register("adaptformer", config=AdaptFormerConfig)
class AdaptFormer(Adapter):
    """AdaptFormer on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model's blocks have no MLP with a norm that all tokens pass through, or m is above C.
    """

    config: AdaptFormerConfig

    def __init__(self, config: AdaptFormerConfig, model: nn.Module) -> None:
        norms, blocks = find_places(model, ["mlp_norm"]), find_places(model, ["block"])
        super().__init__(config, model, places=[*norms, *blocks])
        like = next(model.get_submodule(norms[0].module).parameters())
        count, C = len(blocks), token_width(model, blocks[0])
        self.bottlenecks = Bottlenecks(
            count, C, config.m, act=F.relu, down=kaiming, dropout=config.dropout, bias=config.bias
        ).to(like)

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Remember the tokens in front of the MLP's norm."""
        if place.role == "mlp_norm":
            self.seen["tokens"] = inputs[0]
        return inputs

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Add the branch to what the block gives: stochastic depth drops the MLP and not the branch."""
        if place.role == "mlp_norm":
            return output
        return output + self.config.scale * self.bottlenecks(self.seen.pop("tokens"), place.index)
