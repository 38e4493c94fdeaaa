"""``ppt``: a second set of groups, three MLPs that all blocks share, and a trained position and first tokeniser stage.

Zhang et al., Positional Prompt Tuning for Efficient 3D Representation Learning (arXiv 2408.11567). The cloud is grouped
a second time, with a number and size of its own; its tokens and positions, from the same maps, come behind those of the
first set. With M1, M2, M3 of C -> m -> C, one of each for all blocks, a block computes

    x <- x + position,   x_groups += M1(x_groups),   x_second += M2(x_second)
    u = x + attention(norm1(x)),   y = u + mlp(norm2(u)) + M3(u)

and the head reads [class token, mean of groups, mean of the second set], with GELU where it had ReLU.

From the paper: all of it, m = 256, the second set as large as the first. Ours: sets that are as large are equal, token
for token, and pass the tokeniser once: 8.7 instead of 10.7 billion products at the published size. So the statistics of
its first BatchNorm, which trains, move once a step and not twice; the second BatchNorm is frozen and keeps its own. For
part segmentation the second set takes part in all blocks and is left out behind them; the head stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.head import WiderHead, widened
from pcclora.adapters.methods.groups import (
    TokenPrompts,
    make_more,
    prompt_mlp,
    take_more,
    token_places,
    trained_with_tokens,
)
from pcclora.adapters.places import Place, find_places, has_place, prefix_tokens, token_width
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class PPTConfig(AdapterConfig):
    """Settings of PPT.

    Attributes:
        m: Width inside the three MLPs.
        num_groups: Groups of the second set; None: as many as the model's own.
        group_size: Points of such a group; None: as many as the model's own have.
    """

    shown: ClassVar[tuple[str, ...]] = ("m", "num_groups", "group_size")
    about: ClassVar[About | None] = About(
        "a second set of groups; M1(groups), M2(second set) before a block, M3(u) behind; position and first "
        "stage train; head on [class, mean, mean]",
        "PPT (2408.11567)",
        "a second set that equals the first passes the tokeniser once; the frozen BatchNorm stays frozen",
    )

    m: int = 256
    num_groups: int | None = None
    group_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        for name in ("m", "num_groups", "group_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise PccloraError(f"{name} is {value}; at least 1 is needed")


@ADAPTERS.register("ppt", config=PPTConfig)
class PPT(Adapter):
    """PPT on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model does not say where its tokens are made, its blocks have no MLP that all tokens pass
            through, or its head does not train.
    """

    config: PPTConfig
    starts_at_base = False  # twice as many tokens
    released_mark = r"blocks\.prompt_all_mlp\."
    released_names: ClassVar[Mapping[str, str | None]] = {
        r"blocks\.prompt_mlp\.(.*)": r"prompts.own.\1",
        r"blocks\.prompt_pos_mlp\.(.*)": r"prompts.more.\1",
        r"blocks\.prompt_all_mlp\.(.*)": r"beside.\1",
    }

    def __init__(self, config: PPTConfig, model: nn.Module) -> None:
        blocks = find_places(model, ["block"])
        places = [*token_places(model), *find_places(model, ["stack", "mlp_norm"]), *blocks]
        head = find_places(model, ["head"]) if has_place(model, "head") else ()
        if head:
            places += [*find_places(model, ["norm"]), *head, *_activations(model, head[0])]
        trained, moved = trained_with_tokens(model)
        super().__init__(config, model, places=places, also_trained=trained, also_moved=moved)
        C, self.prefix = token_width(model, blocks[0]), prefix_tokens(model)
        self.head: WiderHead | None = None
        if head:
            self.head = widened(model, head[0], more=C, trained=self.trained_parameters)
        like = next(model.get_submodule(blocks[0].module).parameters())
        self.prompts = TokenPrompts(C, config.m, self.prefix).to(like)
        self.beside = prompt_mlp(C, config.m, C).to(like)

    def own_copy(self, name: str, original: Tensor) -> Tensor:
        """Return the head's first map C inputs wider, and other tensors as they are."""
        return super().own_copy(name, original) if self.head is None else self.head.own_copy(name, original)

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put the second set into the blocks and add to its tokens there; give the head the two means to read."""
        x: Tensor = inputs[0]
        if place.role == "stack":
            ((tokens, positions),) = take_more(self.seen, x, inputs[1], self.prefix)
            self.seen["more"] = tokens.shape[1]
            return torch.cat([x, tokens], dim=1), torch.cat([inputs[1], positions], dim=1), *inputs[2:]
        if place.role == "block":
            return self.prompts(x, self.seen["more"]), *inputs[1:]
        if place.role == "mlp_norm":
            self.seen["u"] = x
        elif place.role == "head":
            means: list[Tensor] = self.seen.pop("means")
            return (torch.cat([x[:, : self.prefix * means[0].shape[1]], *means], dim=1),)
        elif place.role == "activation":
            self.seen["activation"] = x
            return (x.clone(),)  # it may work in place
        return inputs

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Make the second set; add the branch to a block; take the set out behind the last one, and its mean."""
        if place.role == "block":
            return output + self.beside(self.seen.pop("u"))
        if place.role == "stack":
            more = self.seen.pop("more")
            if self.head is not None:
                self.seen["second"] = output[-1][:, -more:]
            return [tokens[:, :-more] for tokens in output]
        if place.role == "norm":
            own, second = output[:, self.prefix :], module.forward(self.seen.pop("second"))
            self.seen["means"] = [own.mean(dim=1), second.mean(dim=1)]
        elif place.role == "activation":
            return F.gelu(self.seen.pop("activation"))
        elif place.role in ("grouping", "tokenizer", "reduction", "position"):
            wanted = (self.config.num_groups, self.config.group_size)
            make_more(self.seen, [wanted], place, module, inputs, output)
        return output


def _activations(model: nn.Module, head: Place) -> list[Place]:
    """Return the ReLUs of a head as places of the role ``activation``."""
    inside = model.get_submodule(head.module).named_modules()
    names = [f"{head.module}.{name}" for name, module in inside if isinstance(module, nn.ReLU)]
    return [Place("activation", name, index, len(names)) for index, name in enumerate(names)]
