"""``stag``: a small network beside the frozen one, on the graph of the centres, that speaks back in its second half.

Side Token Adaptation on a neighborhood Graph (arXiv 2502.14142). A state R (B, G, h) of the groups starts from zero.
With x the tokens that block i is given, before their position is added:

    R <- R + x_groups D + d
    x <- block(x + position)
    in the second half:  R_j <- E3(E1 R_j + max over the k nearest centres l of E2 R_l);   t = ReLU(R U + u);
                         x <- x + [mean of t, t]

and the head reads the mean of all tokens, C wide, past the last norm. One D, E1, E2, E3, U serve all blocks; of the
larger variant ``sl`` the graph begins after a quarter of the blocks and each quarter has its own.

From the paper: all of it, h = 192, k = 8 (the centre itself is one), that the class token and its position stay frozen
(so ``modules_to_save`` is the head). No gradient enters the blocks before the graph's first, nor that one: they run as
at inference, which is what makes it fast. Ours: the variants are told by the depth, in quarters of it; the maximum is
taken of E2 R alone, which is the same number. The start is the paper's, and not the base's: were U zero, the ReLU
behind it would never let a gradient through.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.head import widened
from pcclora.adapters.places import Place, find_places, prefix_tokens, token_width
from pcclora.errors import PccloraError
from pcclora.ops import knn_points
from pcclora.registry import ADAPTERS


@dataclass
class STAGConfig(AdapterConfig):
    """Settings of STAG.

    Attributes:
        modules_to_save: The head; with the class token, gradients would enter every block.
        h: Width of the side network.
        k: Neighbours of a centre, itself among them; all centres, if there are fewer.
        variant: ``std``, one set of maps and a graph in the second half; ``sl``, one set for each quarter of the blocks
            and a graph behind the first.
    """

    shown: ClassVar[tuple[str, ...]] = ("variant", "h", "k")
    about: ClassVar[About | None] = About(
        "a state R of the groups, summed over blocks; in the second half x + ReLU(E3(E1 R + max E2 R_near) U); "
        "head on the mean of all tokens",
        "STAG (2502.14142)",
        "the maximum is taken of E2 R alone: the same number",
    )

    modules_to_save: tuple[str, ...] | None = ("head",)
    h: int = 192
    k: int = 8
    variant: Literal["std", "sl"] = "std"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.h < 1 or self.k < 1:
            raise PccloraError(f"stag: h is {self.h} and k is {self.k}; at least 1 is needed")
        if self.variant not in ("std", "sl"):
            raise PccloraError(f"stag: variant is '{self.variant}'; use std or sl")


class GraphLayer(nn.Module):
    """The graph's part behind a block.

    Args:
        C: Width of a token.
        h: Of the side network.
    """

    def __init__(self, C: int, h: int) -> None:
        super().__init__()
        self.own, self.near, self.out = nn.Linear(h, h), nn.Linear(h, h), nn.Linear(h, h)
        self.up = nn.Linear(h, C)

    def forward(self, R: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Map the state R (B, G, h) to the next one, and to t (B, G, C).

        Args:
            R: Of the groups.
            rows: (B, G, k) the neighbours' rows, counted over all clouds.
        """
        gathered = self.near(R).flatten(0, 1)[rows]
        R = self.out(self.own(R) + gathered.amax(dim=2))
        return R, F.relu(self.up(R))


@ADAPTERS.register("stag", config=STAGConfig)
class STAG(Adapter):
    """STAG on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model gives its centres no position, or has no stack of blocks, norm or head as this method
            needs.
    """

    config: STAGConfig
    starts_at_base = False  # the head reads something else

    def __init__(self, config: STAGConfig, model: nn.Module) -> None:
        blocks, head = find_places(model, ["block"]), find_places(model, ["head"])
        super().__init__(config, model, places=[*find_places(model, ["position", "stack", "norm"]), *blocks, *head])
        depth, C = len(blocks), token_width(model, blocks[0])
        self.prefix = prefix_tokens(model)
        quarter = max(1, depth // 4)
        self.start, self.share = (depth // 2, depth) if config.variant == "std" else (min(quarter, depth - 1), quarter)
        self.downs = nn.ModuleList([nn.Linear(C, config.h) for _ in range(0, depth, self.share)])
        self.graphs = nn.ModuleList([GraphLayer(C, config.h) for _ in range(self.start, depth, self.share)])
        self.head = widened(model, head[0], more=0, trained=self.trained_parameters)
        self.head = replace(self.head, more=C - self.head.reads)
        self.to(model.get_parameter(self.head.weight))

    def own_copy(self, name: str, original: Tensor) -> Tensor:
        """Return the head's first map C inputs wide, and other tensors as they are."""
        return self.head.own_copy(name, original)

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Find the centres' neighbours, take up what a block is given, and give the head the mean of what all give."""
        x: Tensor = inputs[0]
        if place.role == "position":
            self.seen["rows"] = neighbours(x, self.config.k)
        elif place.role == "stack":
            self.seen["x"] = x
        elif place.role == "block":
            taken = self.downs[place.index // self.share](self.seen.pop("x")[:, self.prefix :])
            self.seen["R"] = taken if place.index == 0 else self.seen["R"] + taken
        elif place.role == "norm":
            self.seen["mean"] = x.mean(dim=1)
        elif place.role == "head":
            return self.seen.pop("mean"), *inputs[1:]
        return inputs

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Add what the graph says behind a block."""
        if place.role != "block":
            return output
        if place.index >= self.start:
            layer = self.graphs[(place.index - self.start) // self.share]
            self.seen["R"], t = layer(self.seen["R"], self.seen["rows"])
            output = output + torch.cat([t.mean(dim=1, keepdim=True).expand(-1, self.prefix, -1), t], dim=1)
        if not place.last:
            self.seen["x"] = output
        return output


@torch.no_grad()
def neighbours(centers: Tensor, k: int) -> Tensor:
    """Return for centres (B, G, 3) the nearest ones (B, G, k), themselves first, as rows counted over all clouds."""
    B, G, _ = centers.shape
    near = knn_points(centers, centers, K=min(k, G)).idx
    return near + G * torch.arange(B, device=near.device)[:, None, None]
