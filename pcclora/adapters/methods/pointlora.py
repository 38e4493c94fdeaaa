"""``pointlora``: LoRA on attention, prompts inside its maps, and the best-scored tokens of further sets of groups.

Wang et al., PointLoRA: Low-Rank Adaptation with Token Selection for Point Cloud Learning (arXiv 2504.16023, CVPR 2025).
``qkv`` and ``proj`` of every block, each as a whole, become

    y = x W + b + x A B + M(x)        M: C -> m -> out with GELU, one for all maps of a shape

The cloud is grouped further times. A scorer q(t) = sigmoid(ReLU(t W1 + b1) w2 + b2) looks at each set's tokens, and the
best of each come behind the model's own with their positions. In front of every block, position added, the groups get
M1(x) and the chosen M2(x). The head reads the chosen among the groups. With e(q) = mean(q ln q + (1 - q) ln(1 - q)),
the loss gets .004 (e(q1) + .25 e(q2)). The position and the first stage of the tokeniser train too.

From the paper and its code: all of it; 32 of 128 groups of 32 points are chosen, and 8 of 64 of 64; r = 8, m = 32, no
factor alpha / r. Tokens are chosen by index, so **the loss of the task has no gradient in the scorer**: its only one is
that of e(q), which draws scores to one half. Ours: a set that the model has made already is not made again (7.9 instead
of 9.9 billion products at the published size); scores are compared before the sigmoid, which would round them to be
equal, and of equal ones the first counts; MLPs and scorer start from a normal of std 0.02; for part segmentation the
chosen take part in all blocks and are left out behind them. ``prompts=False`` is what of it merges: LoRA on whole maps,
and the trained stage of the tokeniser.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.lowrank import LowRankAdapter
from pcclora.adapters.methods.groups import (
    TokenPrompts,
    make_more,
    prompt_mlp,
    start,
    take_more,
    token_places,
    trained_with_tokens,
)
from pcclora.adapters.methods.lora import Factors, LoRAConfig
from pcclora.adapters.places import Place, find_places, has_place, prefix_tokens, token_width
from pcclora.adapters.targets import Target, attention_targets, find_targets, without_rows
from pcclora.errors import PccloraError
from pcclora.ops import argsort, gather
from pcclora.registry import ADAPTERS


@dataclass
class PointLoRAConfig(AdapterConfig):
    """Settings of PointLoRA.

    Attributes:
        r: Rank.
        m: Width inside the MLPs.
        prompts: Whether there are MLPs and further tokens; without them it merges.
        num_groups: Groups of each further set.
        group_size: Points of each such group.
        chosen: How many tokens of each set are chosen.
        entropy: Weight of e(q) of each set in the loss.
        target_modules: Patterns of linear maps; None takes ``qkv`` and ``proj`` of every attention, whole.
    """

    shown: ClassVar[tuple[str, ...]] = ("r", "prompts")
    about: ClassVar[About | None] = About(
        "x (W + A B) + M(x), M shared by all blocks; 40 tokens of further groups by score; M1(groups), M2(chosen) "
        "before a block; position and first stage train",
        "PointLoRA (2504.16023)",
        "a set that the model has made is not made again; the scorer learns from entropy alone, as in released code",
    )

    r: int = 8
    m: int = 32
    prompts: bool = True
    num_groups: tuple[int, ...] = (128, 64)
    group_size: tuple[int, ...] = (32, 64)
    chosen: tuple[int, ...] = (32, 8)
    entropy: tuple[float, ...] = (0.004, 0.001)
    target_modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.r < 1 or self.m < 1:
            raise PccloraError(f"r is {self.r}, m is {self.m}; at least 1 is needed")
        for name in ("num_groups", "group_size", "chosen", "entropy"):
            setattr(self, name, tuple(getattr(self, name)))
        sets = (self.num_groups, self.group_size, self.chosen, self.entropy)
        if len({len(values) for values in sets}) != 1 or not self.num_groups:
            raise PccloraError(
                f"num_groups {self.num_groups}, group_size {self.group_size}, chosen {self.chosen} and entropy "
                f"{self.entropy}: one value of each for every set of groups is needed"
            )
        for number, size, chosen, weight in zip(*sets, strict=True):
            if not 1 <= chosen <= number or size < 1 or not isfinite(weight):
                raise PccloraError(
                    f"a set of {number} groups of {size} points, {chosen} chosen, entropy {weight}: at least one "
                    "point, one to all groups chosen, and a finite weight are needed"
                )


class PromptedFactors(nn.Module):
    """What is added to all maps of one shape.

    Args:
        like: One of them.
        members: How many.
        config: Rank and width.
    """

    def __init__(self, like: Target, members: int, config: PointLoRAConfig) -> None:
        super().__init__()
        self.factors = Factors(like.d_in, like.d_out, members, LoRAConfig(r=config.r, lora_alpha=config.r))
        self.prompt = prompt_mlp(like.d_in, config.m, like.d_out) if config.prompts else None

    def forward(self, x: Tensor, members: slice) -> Tensor:
        """Map x (..., d_in) to the targets' updates side by side (..., n * d_out)."""
        update: Tensor = self.factors(x, members)
        if self.prompt is None:
            return update
        prompt: Tensor = self.prompt(x)
        n = members.stop - members.start
        return update + (prompt if n == 1 else torch.cat([prompt] * n, dim=-1))

    def delta(self, members: slice) -> Tensor:
        """Return B A of some targets, (n, d_out, d_in)."""
        return self.factors.delta(members)


@ADAPTERS.register("pointlora", config=PointLoRAConfig)
class PointLoRA(LowRankAdapter):
    """PointLoRA on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model does not say where its tokens are made, or the targets cannot be found.
    """

    config: PointLoRAConfig
    released_mark = r"lora_mask_predictor\."
    released_names: ClassVar[Mapping[str, str | None]] = {  # released files are of this width
        **{
            rf"blocks\.blocks\.(\d+)\.attn\.{name}\.lora_{factor}": rf"groups.{shape}.factors.{factor}[\1]"
            for name, shape in (("qkv", "384x1152"), ("proj", "384x384"))
            for factor in "AB"
        },
        r"blocks\.prompt_qkv_mlp\.(.*)": r"groups.384x1152.prompt.\1",
        r"blocks\.prompt_proj_mlp\.(.*)": r"groups.384x384.prompt.\1",
        r"blocks\.prompt_mlp\.(.*)": r"token_prompts.own.\1",
        r"blocks\.prompt_pos_mlp\.(.*)": r"token_prompts.more.\1",
        r"lora_mask_predictor\.fc1\.(.*)": r"scorer.0.\1",
        r"lora_mask_predictor\.fc2\.(.*)": r"scorer.2.\1",
        r"blocks\.blocks\.\d+\.attn\.(qkv|proj)\.weight": "=1",  # a gate in front of M that does not train
        r"blocks\.(blocks\.\d+\.attn\.(?:qkv|proj))\.linear\.(weight|bias)": r"\1.\2",
    }

    def __init__(self, config: PointLoRAConfig, model: nn.Module) -> None:
        tokens, blocks = token_places(model), find_places(model, ["block"])
        trained, moved = trained_with_tokens(model)
        super().__init__(
            config,
            model,
            targets=find_targets(model, config.target_modules, default=_whole_attention),
            places=[*tokens, *find_places(model, ["stack"]), *blocks] if config.prompts else (),
            also_trained=trained,
            also_moved=moved,
        )
        self.starts_at_base = not config.prompts
        self.prefix = prefix_tokens(model)
        self.read_by_head = has_place(model, "head")
        if config.prompts:
            like = next(model.get_submodule(blocks[0].module).parameters())
            C = token_width(model, blocks[0])
            self.token_prompts = TokenPrompts(C, config.m, self.prefix).to(like)
            self.scorer = nn.Sequential(nn.Linear(C, C // 2), nn.ReLU(), nn.Linear(C // 2, 1)).to(like)
            start(self.scorer)

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> PromptedFactors:
        """Return what is added to all targets of one shape."""
        return PromptedFactors(targets[0], len(targets), self.config)

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Refuse: peft's LoRA has no place for the prompts, nor for the tokeniser's stage that trains."""
        raise PccloraError("peft cannot hold what PointLoRA trains beside its factors; use save_adapter")

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put the chosen tokens into the blocks, and add to all but the prefix there."""
        if place.role == "stack":
            x, position, *rest = inputs
            chosen = self._choose(take_more(self.seen, x, position, self.prefix))
            return *(torch.cat([own, *more], dim=1) for own, more in zip((x, position), chosen, strict=True)), *rest
        if place.role == "block":
            return self.token_prompts(inputs[0], sum(self.config.chosen)), *inputs[1:]
        return inputs

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Make further tokens; take them out behind the blocks, unless a head reads all that there are."""
        if place.role == "stack" and not self.read_by_head:
            return [tokens[:, : -sum(self.config.chosen)] for tokens in output]
        if place.role not in ("stack", "block"):
            sets = tuple(zip(self.config.num_groups, self.config.group_size, strict=True))
            make_more(self.seen, sets, place, module, inputs, output)
        return output

    def regularization(self) -> Tensor:
        """Return the weighted e(q) of the last forward in train mode; 0 before any."""
        entropy: Tensor | None = self.seen.get("entropy")
        return super().regularization() if entropy is None else entropy

    def _choose(self, sets: Sequence[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the tokens with the best scores of each set (B, chosen, C), and their positions."""
        scores = [self.scorer(tokens) for tokens, _ in sets]  # (B, G, 1), before the sigmoid
        self.seen.pop("entropy", None)
        if self.training:  # in eval mode nobody asks for it, and what is left here would outlive the forward
            weighted = zip(self.config.entropy, scores, strict=True)
            self.seen["entropy"] = torch.stack([weight * negative_entropy(score) for weight, score in weighted]).sum()
        taken: tuple[list[Tensor], list[Tensor]] = ([], [])
        for score, own, chosen in zip(scores, sets, self.config.chosen, strict=True):
            best = argsort(score.squeeze(2), descending=True)[:, :chosen]
            for part, x in zip(taken, own, strict=True):
                part.append(gather(x, best))
        return taken


def negative_entropy(scores: Tensor) -> Tensor:
    """Return the mean of q ln q + (1 - q) ln(1 - q), q = sigmoid(scores): a scalar, least where every q is one half."""
    q = torch.sigmoid(scores)
    return (q * torch.log(q + 1e-6) + (1 - q) * torch.log(1 - q + 1e-6)).mean()


def _whole_attention(model: nn.Module) -> tuple[str, ...]:
    """Return ``qkv`` and the output of every attention, without rows."""
    return without_rows(attention_targets(model))
