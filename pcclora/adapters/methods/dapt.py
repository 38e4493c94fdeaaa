"""``dapt``: a bottleneck beside each MLP that is scaled token by token and leaves a prompt, and scales and shifts.

Zhou et al., Dynamic Adapter Meets Prompt Tuning: Parameter-Efficient Transfer Learning for Point Cloud Analysis (arXiv
2403.01439). With ts(z) = g * z + h, g and h of z's width and each place's own, a block maps its tokens x to

    u = x + Attn(ts(N1(x))),   w = ts(N2(u)),   ts also behind qkv, proj, fc1 and fc2
    a = ReLU(LN(w) s + s0) * (GELU(LN(w) A + b1) C + b2)                          A (C, r), C (r, C), s (C, 1)
    y = u + MLP(w) + a,        prompt = ts(mean over the tokens of GELU(a))

and the prompt comes behind the prefix tokens, so that after block i there are i + 1 prompts, the newest first. Groups
pass through a ts in front of the first block and all tokens through one behind the last norm; the head reads [class
token, mean of the prompts, max of the groups], 3 C wide. The position is added once, before the first block, where
Point-MAE adds it before each: with its frozen weights that is another function, but it is the method's.

From the paper: all of it, r = 64, dropout 0.2 behind the inner GELU, g and h from normals of std 0.02 around 1 and 0, A
Kaiming-uniform, C and biases zero. Stochastic depth is the model's: it drops MLP(w) + a of a sample together. Ours:
gates start at 1 (``init="open"``, the default). The paper draws s as A and starts s0 at 0 (``init="paper"``): a gate
that is closed for every token has no gradient, and where tokens are alike, as in an untrained trunk, a block's branch
may stay dead. In part segmentation the head reads groups only, so that prompts take part in attention and are left out
of what it reads; the last block leaves none, and the norm, which reads three blocks there, has no ts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.head import WiderHead, widened
from pcclora.adapters.places import Place, find_places, has_place, prefix_tokens, token_width
from pcclora.adapters.prompts import put_in, take_out, without_prompts
from pcclora.adapters.scale_shift import ScaleShiftAdapter, maps_in_blocks
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class DAPTConfig(AdapterConfig):
    """Settings of DAPT.

    Attributes:
        r: Width of the bottleneck, at most that of a token.
        dropout: Inside the bottleneck, in training.
        init: ``open`` starts the gates of all tokens at 1; ``paper`` at random, some of them closed.
    """

    shown: ClassVar[tuple[str, ...]] = ("r", "init")
    about: ClassVar[About | None] = About(
        "block + ReLU(z s) * (GELU(z A) C), z what the MLP reads, normed; its mean a prompt; g * x + h behind every "
        "map and norm; position once; head on [class, mean of prompts, max]",
        "DAPT (2403.01439)",
        "gates start open unless told otherwise",
    )

    r: int = 64
    dropout: float = 0.2
    init: Literal["open", "paper"] = "open"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.r < 1 or not 0 <= self.dropout < 1:
            raise PccloraError(f"r is {self.r}, at least 1; dropout is {self.dropout}, in [0, 1)")
        if self.init not in ("open", "paper"):
            raise PccloraError(f"init is '{self.init}'; it is open or paper")


class GatedBottleneck(nn.Module):
    """The branch of one block.

    Args:
        C: Width of a token.
        config: Width of the bottleneck, dropout, start.
    """

    def __init__(self, C: int, config: DAPTConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.norm, self.gate = nn.LayerNorm(C), nn.Linear(C, 1)
        self.down, self.up = nn.Linear(C, config.r), nn.Linear(config.r, C)
        for tensor in (self.gate.bias, self.down.bias, *self.up.parameters()):
            nn.init.zeros_(tensor)
        if config.init == "open":
            nn.init.zeros_(self.gate.weight)
            nn.init.ones_(self.gate.bias)

    def forward(self, w: Tensor) -> Tensor:
        """Map what the MLP reads (B, T, C) to what is added to its output."""
        normed = self.norm(w)
        low = F.dropout(F.gelu(self.down(normed)), self.dropout, self.training)
        gated: Tensor = F.relu(self.gate(normed)) * self.up(low)
        return gated


_TS = {  # place in a block -> where its scale is in the original, and which there
    "norm1": ("", 1),
    "norm2": ("", 2),
    "": ("", 3),
    "attn/qkv": ("attn.", 1),
    "attn/proj": ("attn.", 2),
    "mlp/fc1": ("mlp.", 1),
    "mlp/fc2": ("mlp.", 2),
}
_BLOCK = r"(?:blocks\.)?blocks\.(\d+)\."


@ADAPTERS.register("dapt", config=DAPTConfig)
class DAPT(ScaleShiftAdapter):
    """DAPT on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model has no stack of pre-norm blocks that all tokens pass through, its head does not
            train, or the bottleneck is wider than a token.
    """

    config: DAPTConfig
    starts_at_base = False  # new tokens, the position once, a wider head
    released_mark = r".*\.Adapter_MLP\."
    released_names: ClassVar[Mapping[str, str | None]] = {
        **{
            f"{_BLOCK}{inside}tfts_{theirs}_{number}": rf"{ours}.blocks/\1/{place}".rstrip("/")
            for theirs, ours in (("gamma", "scales"), ("beta", "shifts"))
            for place, (inside, number) in _TS.items()
        },
        **{
            f"tfts_{theirs}_{number}": f"{ours}.{place}"
            for theirs, ours in (("gamma", "scales"), ("beta", "shifts"))
            for number, place in ((1, "blocks"), (2, "norm"))
        },
        **{
            rf"{_BLOCK}Adapter_MLP\.{theirs}\.(.*)": rf"branches.\1.{ours}.\2"
            for theirs, ours in (
                ("adapter_layer_norm_before", "norm"),
                ("scale", "gate"),
                ("down_proj", "down"),
                ("up_proj", "up"),
            )
        },
    }

    def __init__(self, config: DAPTConfig, model: nn.Module) -> None:
        blocks, around = find_places(model, ["tokens"]), find_places(model, ["stack"])
        inside = find_places(model, ["attention_norm", "mlp_norm", "mlp"])
        head = find_places(model, ["norm", "head"]) if has_place(model, "head") else ()
        prompting = blocks if head else blocks[:-1]  # without a head nothing reads what the last one would leave
        targets, C = maps_in_blocks(model), token_width(model, blocks[0])
        if config.r > C:
            raise PccloraError(f"dapt: r is {config.r}, and a token is {C} wide; choose adapter.r of {C} or less")
        of_a_token = model.get_parameter(f"{inside[0].module}.weight")
        like = {place.module: of_a_token for place in (*around, *prompting, *inside, *head[:1]) if place.role != "mlp"}
        like |= {target.module: model.get_parameter(f"{target.module}.weight") for target in targets}
        places = [*around, *prompting, *inside, *head]
        super().__init__(config, model, targets=targets, places=places, like=like, std=0.02)
        self.prefix, self.C, self.prompts = prefix_tokens(model), C, len(prompting)
        self.branches = nn.ModuleList([GatedBottleneck(C, config) for _ in blocks]).to(of_a_token)
        self.head: WiderHead | None = None
        if head:
            self.head = widened(model, head[-1], more=C, trained=self.trained_parameters)

    def own_copy(self, name: str, original: Tensor) -> Tensor:
        """Return the head's first map C inputs wider, and other tensors as they are."""
        return super().own_copy(name, original) if self.head is None else self.head.own_copy(name, original)

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add the position to scaled groups, once; give the mean of the prompts to the head."""
        if place.role == "stack":
            x, position = inputs
            groups = self.scaled(place.module, x[:, self.prefix :])
            x = torch.cat([x[:, : self.prefix], groups], dim=1)
            return x + position, position.new_zeros(1, 1, 1)  # for any number of tokens: it grows from block to block
        if place.role == "head" and self.head is not None:
            return (self.head.join(inputs[0], self.seen.pop("prompts"), at=self.prefix * self.C),)
        return inputs

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Scale what norms give, add the branch to the MLP, put its prompt in; take all prompts out at the end."""
        if place.role == "mlp":
            branch = self.branches[place.index](inputs[0])
            if place.index < self.prompts:
                self.seen["prompt"] = F.gelu(branch).mean(dim=1, keepdim=True)
            return output + branch
        if place.role == "tokens":
            return put_in(output, self.scaled(place.module, self.seen.pop("prompt")), behind=self.prefix)
        if place.role == "stack":
            count = inputs[0].shape[1]
            return output if self.head is not None else without_prompts(output, count, behind=self.prefix)
        if place.role == "head":
            return output
        output = self.scaled(place.module, output)
        if place.role == "norm":
            self.seen["prompts"] = output[:, self.prefix : self.prefix + self.prompts].mean(dim=1)
            return take_out(output, self.prompts, behind=self.prefix)
        return output
