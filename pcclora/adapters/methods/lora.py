"""LoRA: each target has a low-rank update of its own.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (arXiv 2106.09685): y = x W + b + s (x A) B with
s = alpha / r. Initialisation and order of operations are Hugging Face peft's, so on whole linear maps outputs are equal
bit for bit (tests/adapters/test_peft.py). Unlike there, a target may be rows of a fused map.

Its variants are settings. rsLoRA (Kalajdzievski, arXiv 2312.03732): s = alpha / sqrt(r). LoRA+ (Hayou et al., arXiv
2402.12354): B learns 16 times as fast as A. PiSSA (Meng et al., arXiv 2404.02948): A and B start as the r largest
singular triplets of W, and what they make is taken from W:

    y = x (W - s A0 B0) + b + s (x A) B         A0 = U sqrt(S / s), B0 = sqrt(S / s) V of each target's own W = U S V

From the paper: this. Ours: W stays as it is and the two products are subtracted, so the start is the base's bit for
bit, not up to rounding; and A0 and B0 are not in the file but made again from W, which has to be the same.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite, sqrt
from typing import Any, ClassVar, Literal, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.lowrank import LowRankAdapter
from pcclora.adapters.svd import singular_triplets
from pcclora.adapters.targets import Target, find_targets
from pcclora.errors import PccloraError
from pcclora.limits import check_parameters
from pcclora.registry import ADAPTERS

PEFT_NAMES = {"A": "lora_A.weight", "B": "lora_B.weight"}


@dataclass
class LowRankConfig(AdapterConfig):
    """What all of LoRA's kind have, in Hugging Face peft's words: see :class:`LoRAConfig`."""

    shown: ClassVar[tuple[str, ...]] = ("r",)
    later: ClassVar[tuple[str, ...]] = ("use_rslora",)

    r: int = 8
    lora_alpha: float = 8.0
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] | None = None
    use_rslora: bool = False

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.r < 1 or not 0 <= self.lora_dropout < 1 or not isfinite(self.lora_alpha):
            raise PccloraError(
                f"r is {self.r}, at least 1; lora_dropout is {self.lora_dropout}, in [0, 1); lora_alpha is "
                f"{self.lora_alpha}, finite"
            )

    def of(self, module: str) -> Self:
        """Return the settings of one target, whose rank and alpha may be its own."""
        return self

    def resolved(self, modules: Iterable[str]) -> Self:
        """Return the settings with every pattern of targets with values of their own replaced by the names it means."""
        return self

    @property
    def scale(self) -> float:
        """Factor s of the update."""
        return self.lora_alpha / (sqrt(self.r) if self.use_rslora else self.r)


@dataclass
class LoRAConfig(LowRankConfig):
    """Settings of LoRA, in Hugging Face peft's words.

    Attributes:
        r: Rank.
        lora_alpha: The update is scaled by lora_alpha / r.
        lora_dropout: Of the input of A, in training.
        target_modules: Patterns as ``blocks.*.attn.qkv[q,v]``. None takes ``qkv[q,k,v]`` and ``proj`` of every
            attention.
        use_rslora: Scale by lora_alpha / sqrt(r) instead.
        init: ``kaiming`` as in LoRA's paper, B zero; ``pissa`` as described above.
        loraplus_lr_ratio: The learning rate of B over that of A; LoRA+ has 16.
        rank_pattern: Other ranks of some targets, by regular expressions of the ends of their modules' names.
        alpha_pattern: Other values of lora_alpha, likewise.
    """

    about: ClassVar[About | None] = About("W + alpha/r A B", "LoRA (2106.09685)")
    later: ClassVar[tuple[str, ...]] = ("use_rslora", "init", "loraplus_lr_ratio", "rank_pattern", "alpha_pattern")
    inits: ClassVar[tuple[str, ...]] = ("kaiming", "pissa")

    init: Literal["kaiming", "pissa"] = "kaiming"
    loraplus_lr_ratio: float = 1.0
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        super().__post_init__()
        if self.init not in self.inits or not 0 < self.loraplus_lr_ratio < inf:
            raise PccloraError(
                f"init is '{self.init}', here {' or '.join(self.inits)}; loraplus_lr_ratio is "
                f"{self.loraplus_lr_ratio}, above 0"
            )
        try:
            for key in {**self.rank_pattern, **self.alpha_pattern}:
                re.compile(key)
        except re.error as error:
            raise PccloraError(f"rank_pattern or alpha_pattern '{key}' is no regular expression: {error}") from error
        if self.init == "pissa" and not self.lora_alpha > 0:
            raise PccloraError(f"lora_alpha is {self.lora_alpha}; with init 'pissa' it is above 0")

    def of(self, module: str) -> Self:
        """Return the settings of one target: of several patterns the first that matches counts, as in peft."""
        if not self.rank_pattern and not self.alpha_pattern:
            return self
        own = {
            name: next((value for key, value in patterns.items() if _means(key, module)), getattr(self, name))
            for name, patterns in self._patterns().items()
        }
        return replace(self, **own, rank_pattern={}, alpha_pattern={})

    def resolved(self, modules: Iterable[str]) -> Self:
        """Return the settings with every pattern replaced by the names that it means, where they differ.

        Raises:
            PccloraError: If a pattern means none.
        """
        if not self.rank_pattern and not self.alpha_pattern:
            return self
        names = [*modules]
        for key in {**self.rank_pattern, **self.alpha_pattern}:
            if not any(_means(key, name) for name in names):
                raise PccloraError(
                    f"rank_pattern or alpha_pattern '{key}' matches no target; targets are '{names[0]}', ..."
                )
        found: dict[str, Any] = {}
        for name in self._patterns():
            own = {f"^{re.escape(module)}": getattr(self.of(module), name) for module in names}
            found[name] = {key: value for key, value in own.items() if value != getattr(self, name)}
        return replace(self, rank_pattern=found["r"], alpha_pattern=found["lora_alpha"])

    def _patterns(self) -> dict[str, dict[str, Any]]:
        return {"r": self.rank_pattern, "lora_alpha": self.alpha_pattern}

    def rate_factors(self, adapter: nn.Module) -> dict[str, float]:
        """Return LoRA+'s factors of the learning rates of an adapter's B."""
        if self.loraplus_lr_ratio == 1:
            return {}
        names = [name for name, _ in adapter.named_parameters() if name.endswith(".B")]
        return dict.fromkeys(names, self.loraplus_lr_ratio)


def _means(pattern: str, module: str) -> bool:
    """Tell whether a pattern matches the end of a module's name, from the beginning of a segment on."""
    return re.match(rf"(.*\.)?({pattern})$", module) is not None


class Product(nn.Module):
    """Two factors A (m, r, d_in), B (m, d_out, r) of m targets of one shape; what trains of them, a subclass says.

    Args:
        config: Scale and dropout.
    """

    A: Tensor
    B: Tensor

    def __init__(self, config: LowRankConfig) -> None:
        super().__init__()
        self.scale, self.dropout = config.scale, config.lora_dropout

    def forward(self, x: Tensor, members: slice) -> Tensor:
        """Map x (..., d_in) to the targets' updates side by side (..., n * d_out)."""
        return self.product(F.dropout(x, self.dropout, self.training), self.A[members], self.up(members))

    def up(self, members: slice) -> Tensor:
        """Return what stands behind A of n targets, (n, d_out, r)."""
        return self.B[members]

    def product(self, x: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Return s x A^T B^T of n targets side by side."""
        return self.unscaled(x, A, B) * self.scale

    def unscaled(self, x: Tensor, A: Tensor, B: Tensor) -> Tensor:
        """Return x A^T B^T of n targets side by side."""
        low = F.linear(x, A.flatten(0, 1))
        if len(A) == 1:
            return F.linear(low, B[0])
        parts = zip(low.chunk(len(A), dim=-1), B, strict=True)
        return torch.cat([F.linear(part, b) for part, b in parts], dim=-1)

    def plain(self, members: slice) -> tuple[Tensor, Tensor]:
        """Return A (n, R, d_in) and B (n, d_out, R) whose product, scaled, is all that some targets are changed by."""
        return self.A[members], self.up(members)

    def delta(self, members: slice) -> Tensor:
        """Return the updates of some targets, (n, d_out, d_in)."""
        A, B = self.plain(members)
        return self.scale * (B @ A)


class Factors(Product):
    """LoRA's factors of all targets of one shape.

    Args:
        d_in: Width of the input.
        d_out: Width of the update.
        members: Number m of targets.
        config: Rank, scale, dropout.
    """

    def __init__(self, d_in: int, d_out: int, members: int, config: LoRAConfig) -> None:
        super().__init__(config)
        check_parameters(members * config.r * (d_in + d_out), f"r {config.r}")
        self.A = nn.Parameter(torch.empty(members, config.r, d_in).uniform_(-1, 1) * d_in**-0.5)  # Kaiming, a = sqrt(5)
        self.B = nn.Parameter(torch.zeros(members, d_out, config.r))


class Principal(Product):
    """Factors that start as the largest singular triplets of the targets' weights, and those to subtract.

    Args:
        targets: Of one shape.
        weights: Their weights (d_out, d_in).
        config: Rank, scale, dropout.

    Raises:
        PccloraError: If the targets have no such rank.
    """

    A0: Tensor
    B0: Tensor

    def __init__(self, targets: Sequence[Target], weights: Sequence[Tensor], config: LoRAConfig) -> None:
        super().__init__(config)
        U, S, V = singular_triplets(targets, weights, config.r)
        root = (S / self.scale).sqrt()
        for name, factor in (("A", root[:, :, None] * V), ("B", U * root[:, None])):
            start = factor.to(weights[0].dtype)
            self.register_parameter(name, nn.Parameter(start))
            self.register_buffer(f"{name}0", start.clone(), persistent=False)

    def forward(self, x: Tensor, members: slice) -> Tensor:
        """Map x (..., d_in) to the targets' updates side by side (..., n * d_out)."""
        return super().forward(x, members) - self.product(x, self.A0[members], self.B0[members])

    def plain(self, members: slice) -> tuple[Tensor, Tensor]:
        """Return both pairs as one of rank 2 r."""
        A, B = super().plain(members)
        return torch.cat([A, self.A0[members]], dim=1), torch.cat([B, -self.B0[members]], dim=2)


class ProductAdapter(LowRankAdapter):
    """A method of LoRA's kind on one model: its groups are :class:`Product`.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found.
    """

    config: LowRankConfig

    def __init__(self, config: LowRankConfig, model: nn.Module) -> None:
        targets = find_targets(model, config.target_modules)
        super().__init__(config.resolved({t.module: None for t in targets}), model, targets=targets)

    def group_of(self, target: Target) -> str:
        """Return the name of a target's group: that of its shape, and of its rank and alpha if they are its own."""
        own = self.config.of(target.module)
        rank = "" if own.r == self.config.r else f"_r{own.r}"
        alpha = "" if own.lora_alpha == self.config.lora_alpha else f"_alpha{own.lora_alpha}".replace(".", "p")
        return super().group_of(target) + rank + alpha

    @property
    def peft_settings(self) -> dict[str, Any]:
        """Dropout, and by what the scale divides."""
        return {"lora_dropout": self.config.lora_dropout, "use_rslora": self.config.use_rslora}

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slices' A stacked, and their B in their own rows and columns."""
        A, B = [], []
        for share in self.shares[module]:
            factors = cast("Product", self.groups[share.group])
            for rows, a, b in zip(share.rows, *factors.plain(share.members), strict=True):
                A.append(a)
                B.append(b.new_zeros(len(weight), b.shape[1]))
                B[-1][rows] = b
        return torch.cat(A), torch.cat(B, dim=1)

    def lora_alpha(self, rank: int, module: str) -> float:
        """Return that of the config, scaled with the rank."""
        own = self.config.of(module)
        ratio = rank / own.r  # exactly its own at its own rank
        return (sqrt(ratio) if own.use_rslora else ratio) * own.lora_alpha


@ADAPTERS.register("lora", config=LoRAConfig)
class LoRA(ProductAdapter):
    """LoRA on one model."""

    config: LoRAConfig

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> Product:
        """Return the factors of all targets of one shape."""
        config = self.config.of(targets[0].module)
        if config.init == "pissa":
            return Principal(targets, weights, config)
        return Factors(targets[0].d_in, targets[0].d_out, len(targets), config)

    @property
    def peft_names(self) -> Mapping[str, str]:
        """Those of A and B; none where peft's settings do not say all of ours, or it keeps no start of PiSSA."""
        return PEFT_NAMES if self.config.init == "kaiming" and self.config.loraplus_lr_ratio == 1 else {}

    def rate_factors(self) -> dict[str, float]:
        """Return LoRA+'s."""
        return self.config.rate_factors(self)
