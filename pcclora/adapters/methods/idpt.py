"""``idpt``: one prompt, computed from the cloud's own tokens, in front of the last block.

Zha et al., Instance-aware Dynamic Prompt Tuning for Pre-trained Point Cloud Models (arXiv 2304.07221). In front of the
last block a prompt P = F(x_1..G) comes behind the class token, with a position of its own; behind the last norm the
head reads [class token, P, max of the groups], 3 C wide.

F treats tokens as points in feature space: three EdgeConvs e_j = act(BN([x_j - x_i, x_i] W)) over the k nearest tokens
(the token itself is one), max over them, each on the output of the one before; their outputs side by side pass through
a last map with BN, and the max over the tokens is P.

From the paper: all of it, k = 20. Ours: with W = [W1; W2] an edge is x_j W1 + x_i (W2 - W1), so both products run once
a token and not once an edge: the same numbers up to rounding, k times fewer operations; BN and the max still see every
edge. The prompt's position trains too: in the released code it stays at random, for its name lacks a word. In part
segmentation, where the paper has a prompt too, it takes part in the last block and is left out of what the head reads
of that. That is ours, and so is the number trained there: 6.57 M with the head, where 5.69 M are published.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.head import WiderHead, widened
from pcclora.adapters.places import Place, find_places, has_place, prefix_tokens, token_width
from pcclora.adapters.prompts import put_in, take_out, without_prompts
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class IDPTConfig(AdapterConfig):
    """Settings of IDPT.

    Attributes:
        k: Neighbours of a token in feature space, itself among them.
    """

    shown: ClassVar[tuple[str, ...]] = ("k",)
    about: ClassVar[About | None] = About(
        "a prompt F(tokens), three EdgeConvs, into the last block; head on [class, prompt, max]",
        "IDPT (2304.07221)",
        "the edges' product is split in two, k times fewer operations; the prompt's position trains, in released code "
        "it stays at random",
    )

    k: int = 20

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.k < 1:
            raise PccloraError(f"k is {self.k}; at least 1 is needed")


class EdgeConv(nn.Module):
    """One layer on the graph of the k nearest tokens.

    Args:
        C: Width of a token.
        k: Neighbours, the token itself among them.
    """

    def __init__(self, C: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.edge = nn.Linear(2 * C, C, bias=False)  # the first C inputs are x_j - x_i, the last x_i
        self.norm = nn.BatchNorm1d(C)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, G, C) to (B, G, C)."""
        B, G, C = x.shape
        with torch.no_grad():
            near = _distances(x).topk(min(self.k, G), dim=-1, largest=False).indices  # (B, G, k)
        difference, itself = self.edge.weight[:, :C], self.edge.weight[:, C:]
        of_neighbour, of_token = F.linear(x, difference), F.linear(x, itself - difference)
        rows = (near + G * torch.arange(B, device=x.device)[:, None, None]).flatten()
        edges = of_neighbour.flatten(0, 1)[rows].view(B, G, -1, C) + of_token[:, :, None]
        normed = self.norm(edges.flatten(0, 2)).view(B, G, -1, C)
        return F.leaky_relu(normed, 0.2).amax(dim=2)

    def published_macs(self, x: Tensor) -> int:
        """Return the multiply-accumulates of the published form: the map of every edge."""
        return x[..., 0].numel() * min(self.k, x.shape[1]) * self.edge.weight.numel()


class PromptMaker(nn.Module):
    """F: the tokens of a cloud -> its prompt.

    Args:
        C: Width of a token.
        k: Neighbours.
    """

    def __init__(self, C: int, k: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EdgeConv(C, k) for _ in range(3)])
        self.join = nn.Linear(3 * C, C, bias=False)
        self.norm = nn.BatchNorm1d(C)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, G, C) to a prompt (B, 1, C)."""
        outputs, x = [], tokens
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        joined = self.join(torch.cat(outputs, dim=-1))
        normed = self.norm(joined.flatten(0, 1)).view_as(joined)
        return F.leaky_relu(normed, 0.2).amax(dim=1, keepdim=True)


@ADAPTERS.register("idpt", config=IDPTConfig)
class IDPT(Adapter):
    """IDPT on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model has no position, blocks, norm or head of the kind that this method needs.
    """

    config: IDPTConfig
    starts_at_base = False  # a new token, and a head that reads it
    released_mark = r"blocks\.cls\.conv"
    released_names: ClassVar[Mapping[str, str | None]] = {
        "prompt_pos": "position",
        **{rf"blocks\.cls\.conv{k + 1}\.0\.(.*)": rf"maker.layers.{k}.edge.\1" for k in range(3)},
        **{rf"blocks\.cls\.(conv{k + 1}\.1|bn{k + 1})\.(.*)": rf"maker.layers.{k}.norm.\2" for k in range(3)},
        r"blocks\.cls\.conv5\.0\.(.*)": r"maker.join.\1",
        r"blocks\.cls\.(conv5\.1|bn5)\.(.*)": r"maker.norm.\2",  # it keeps each norm under two names
    }

    def __init__(self, config: IDPTConfig, model: nn.Module) -> None:
        blocks, position = find_places(model, ["tokens"]), find_places(model, ["position"])
        ends = find_places(model, ["norm", "head"] if has_place(model, "head") else ["stack"])
        super().__init__(config, model, places=[*blocks[-2:], *position, *ends])
        self.prefix, self.C = prefix_tokens(model), token_width(model, blocks[0])
        like = next(model.get_submodule(blocks[0].module).parameters())
        self.maker = PromptMaker(self.C, config.k).to(like)
        self.position = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, self.C), std=0.02).to(like))
        self.head: WiderHead | None = None
        if ends[-1].role == "head":
            self.head = widened(model, ends[-1], more=self.C, trained=self.trained_parameters)

    def own_copy(self, name: str, original: Tensor) -> Tensor:
        """Return the head's first map C inputs wider, and other tensors as they are."""
        return super().own_copy(name, original) if self.head is None else self.head.own_copy(name, original)

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put the prompt into the last block, behind the prefix; give it to the head to read."""
        if place.role == "head" and self.head is not None:
            return (self.head.join(inputs[0], self.seen.pop("prompt"), at=self.prefix * self.C),)
        if place.role != "tokens" or not place.last:
            return inputs
        x: Tensor = inputs[0]
        position = self.seen.pop("position")
        tokens = self.seen.pop("tokens", None)  # without the position; only a single block has none before it
        prompt = self.maker(x[:, self.prefix :] - position if tokens is None else tokens) + self.position
        return put_in(x, prompt, behind=self.prefix), *inputs[1:]

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Remember the positions; take the prompt out behind the last norm, or of what the last block gave."""
        if place.role == "position":
            self.seen["position"] = output
        elif place.role == "tokens" and not place.last:
            self.seen["tokens"] = output[:, self.prefix :]
        elif place.role == "norm":
            self.seen["prompt"] = output[:, self.prefix]
            return take_out(output, 1, behind=self.prefix)
        elif place.role == "stack":
            return without_prompts(output, inputs[0].shape[1], behind=self.prefix)
        return output


def _distances(x: Tensor) -> Tensor:
    """Return how far tokens (B, G, C) are from each other (B, G, G): what is near, in any monotonous measure."""
    if torch.compiler.is_exporting():  # ONNX has no cdist
        return (x[:, :, None] - x[:, None]).square().sum(dim=-1)
    return torch.cdist(x, x)
