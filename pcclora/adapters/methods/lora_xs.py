"""``lora_xs``: a small trained core between the largest singular directions of each target's own weight.

Bałazy et al., LoRA-XS: Low-Rank Adaptation with Extremely Small Number of Parameters (arXiv 2405.17604):

    y = x W + b + s (x A) R B        A = U S (d_in, r), B = V (r, d_out): W's r largest singular triplets, s = alpha / r

From the paper: A and B are frozen, the singular values stand on the side of the input, and only R (r, r) trains: r^2
numbers a target, whatever its width. R drawn from N(0, 1e-5) is ``init="paper"``. Ours: R starts at zero, and so at the
base (``init="zero"``, the default; R has a gradient there); a target may be rows of a fused map, whose own singular
triplets are taken; A and B are not in the file but made again from W, which has to be the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pcclora.adapters.base import About
from pcclora.adapters.methods.lora import LowRankConfig, Product, ProductAdapter
from pcclora.adapters.svd import singular_triplets
from pcclora.adapters.targets import Target
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class LoRAXSConfig(LowRankConfig):
    """Settings of LoRA-XS, in LoRA's words.

    Attributes:
        r: Rank; at most that of the targets.
        lora_alpha: The update is scaled by lora_alpha / r.
        lora_dropout: Of the input of A, in training.
        target_modules: Patterns as ``blocks.*.attn.qkv[q,v]``. None takes ``qkv[q,k,v]`` and ``proj`` of every
            attention.
        use_rslora: Scale by lora_alpha / sqrt(r) instead.
        init: ``zero`` starts at the base; ``paper`` within rounding of it.
    """

    about: ClassVar[About | None] = About(
        "W + s A R B, A and B the singular directions of W, frozen",
        "LoRA-XS (2405.17604)",
        "starts at the base unless told otherwise; A and B are made again from W, not stored",
    )

    r: int = 16
    lora_alpha: float = 16.0
    init: Literal["zero", "paper"] = "zero"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        super().__post_init__()
        if self.init not in ("zero", "paper"):
            raise PccloraError(f"init is '{self.init}', zero or paper")


class Core(Product):
    """The cores of all targets of one shape, between their frozen factors.

    Args:
        targets: Of one shape.
        weights: Their weights (d_out, d_in).
        config: Rank, scale, dropout, start.

    Raises:
        PccloraError: If the targets have no such rank.
    """

    def __init__(self, targets: Sequence[Target], weights: Sequence[Tensor], config: LoRAXSConfig) -> None:
        super().__init__(config)
        U, S, V = singular_triplets(targets, weights, config.r)
        self.register_buffer("A", (S[:, :, None] * V).to(weights[0].dtype), persistent=False)
        self.register_buffer("B", U.to(weights[0].dtype), persistent=False)
        size = (len(targets), config.r, config.r)
        self.R = nn.Parameter(torch.randn(size) * 1e-5 if config.init == "paper" else torch.zeros(size))

    def up(self, members: slice) -> Tensor:
        """Return R B of some targets in torch's form, (n, d_out, r)."""
        return self.B[members] @ self.R[members].mT


@ADAPTERS.register("lora_xs", config=LoRAXSConfig)
class LoRAXS(ProductAdapter):
    """LoRA-XS on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found, or have no such rank.
    """

    config: LoRAXSConfig

    def __init__(self, config: LoRAXSConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.starts_at_base = config.init == "zero"

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Core:
        """Return the cores of all targets of one shape."""
        return Core(targets, weights, self.config)
