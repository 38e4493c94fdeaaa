"""Further sets of groups of a cloud, for methods that give the blocks more tokens than the model's own.

Their tokens and positions come from the model's own tokeniser, run again wherever the model runs it. Farthest points
are nested, so groups of the model's own size, and no more of them, *are* the first of the model's own: their tokens are
taken, not computed again. Fewer groups of another size need no sampling.

These methods also have in common what they train of the model: the position, and the first stage of the tokeniser.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pcclora.adapters.base import tensors_inside
from pcclora.adapters.places import Place, Seen, find_places, has_place
from pcclora.errors import PccloraError
from pcclora.limits import check_parameters
from pcclora.ops import gather, knn_points, sample_farthest_points

GroupSet = tuple[int | None, int | None]
"""How many groups, of how many points; None is as many as the model's own."""

_MADE_OF = {
    "tokenizer": ("neighborhoods", "tokens"),
    "reduction": ("tokens",) * 2,
    "position": ("centers", "positions"),
}


def token_places(model: nn.Module) -> tuple[Place, ...]:
    """Return the places where a model makes its tokens, behind each of which :func:`make_more` is called.

    Raises:
        PccloraError: If it does not say where.
    """
    reduction = ["reduction"] if has_place(model, "reduction") else []
    return find_places(model, ["grouping", "tokenizer", *reduction, "position"])


def trained_with_tokens(model: nn.Module) -> tuple[list[str], list[str]]:
    """Return the parameters, and the buffers, of the tokeniser's first stage and of the position."""
    tokenizer, position = find_places(model, ["tokenizer", "position"])
    stages = [name for name, _ in model.get_submodule(tokenizer.module).named_children()]
    return tensors_inside(model, [".".join([tokenizer.module, *stages[:1]]), position.module])


def make_more(
    seen: Seen, sets: Sequence[GroupSet], place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any
) -> None:
    """Make for further sets of groups what a module makes for the model's own.

    Args:
        seen: The adapter's, where it is kept.
        sets: Which.
        place: One of :func:`token_places`.
        module: What is there.
        inputs: What it was given.
        output: What it gave.

    Raises:
        PccloraError: If the clouds are too small.
    """
    if place.role == "grouping":
        made = [_regroup(module, inputs[0], output, wanted) for wanted in sets]
        seen["neighborhoods"], seen["centers"] = ([one[i] for one in made] for i in range(2))
        return
    source, result = _MADE_OF[place.role]
    seen[result] = [one if isinstance(one, int) else module.forward(one) for one in seen.pop(source)]


def take_more(seen: Seen, x: Tensor, position: Tensor, prefix: int) -> list[tuple[Tensor, Tensor]]:
    """Return tokens and positions, (B, G, C) both, of each set that :func:`make_more` has made.

    Args:
        seen: The adapter's.
        x: The model's own tokens (B, prefix + G, C).
        position: Theirs.
        prefix: How many are no groups.
    """
    own = x[:, prefix:], position[:, prefix:]
    made = zip(seen.pop("tokens"), seen.pop("positions"), strict=True)
    return [(own[0][:, :t], own[1][:, :t]) if isinstance(t, int) else (t, p) for t, p in made]


def _regroup(
    grouping: nn.Module, points: Tensor, own: tuple[Tensor, Tensor], wanted: GroupSet
) -> tuple[Tensor, Tensor] | tuple[int, int]:
    """Return neighbourhoods and centres of further groups, or how many of the model's own groups they are."""
    neighborhoods, centers = own
    G, K = neighborhoods.shape[1:3]
    number, size = wanted[0] or G, wanted[1] or K
    if max(number, size) > points.shape[1]:
        raise PccloraError(
            f"{number} further groups of {size} points cannot be made of a cloud of {points.shape[1]} points; choose "
            "smaller adapter.num_groups and adapter.group_size"
        )
    if size == K and number <= G:
        return number, number
    if number > G:
        skip = getattr(grouping, "skip_near_origin", False)
        centers, _ = sample_farthest_points(points, K=number, skip_near_origin=skip)
    centers = centers[:, :number]
    return gather(points, knn_points(centers, points, K=size).idx) - centers.unsqueeze(2), centers


def prompt_mlp(C: int, m: int, out: int) -> nn.Sequential:
    """Return a map C -> m -> out with GELU between: weights from a normal of std 0.02, cut at 2, biases zero.

    Raises:
        PccloraError: If it has more parameters than a method may.
    """
    check_parameters(m * (C + out), f"m {m}")
    layers = nn.Sequential(nn.Linear(C, m), nn.GELU(), nn.Linear(m, out))
    start(layers)
    return layers


def start(module: nn.Module) -> None:
    """Start all linear maps inside: weights from a normal of std 0.02, cut at 2, biases zero."""
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            parameter.zero_() if name.endswith("bias") else nn.init.trunc_normal_(parameter, std=0.02)


class TokenPrompts(nn.Module):
    """What is added to the groups' tokens before every block: one MLP for the model's own, one for the further ones.

    Args:
        C: Width of a token.
        m: Width inside.
        prefix: Tokens that are no groups, to which nothing is added.
    """

    def __init__(self, C: int, m: int, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.own, self.more = prompt_mlp(C, m, C), prompt_mlp(C, m, C)

    def forward(self, x: Tensor, more: int) -> Tensor:
        """Map tokens (B, T, C), of which the last ``more`` are of further groups, to the same shape."""
        groups, further = x[:, self.prefix : -more], x[:, -more:]
        return torch.cat([x[:, : self.prefix], groups + self.own(groups), further + self.more(further)], dim=1)
