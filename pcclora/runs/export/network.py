"""What of a run is exported: its network as plain tensors in, logits out, and which sizes may vary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pcclora import adapters
from pcclora.adapters.attach import host_of
from pcclora.errors import PccloraError

Axes = Mapping[int, str]
"""Axis of an input -> the name of its size, if that may vary; sizes of one name are equal."""


@dataclass(frozen=True)
class Network:
    """A network ready to be exported.

    Attributes:
        module: Called with the inputs in their order, it returns logits.
        inputs: By name, in their order.
        points: The least number of points of a cloud; 0 for images.
        merged: Whether the adapter is in the weights, or there is none; else it stands in the graph.
    """

    module: nn.Module
    inputs: Mapping[str, Axes]
    points: int
    merged: bool

    @torch.no_grad()
    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the logits of a batch, computed here."""
        logits: Tensor = self.module(*inputs)
        return logits

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """Return what torch's exporters call by this name."""
        least = {"points": self.points}
        names = {name for axes in self.inputs.values() for name in axes.values()}
        sizes = {name: torch.export.Dim(name, min=least.get(name, 1)) for name in names}
        return tuple({axis: sizes[name] for axis, name in axes.items()} for axes in self.inputs.values())


class Segmenter(nn.Module):
    """A part segmenter whose three inputs are positional: exporters know no others.

    Args:
        model: The segmenter.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, points: Tensor, category: Tensor, query: Tensor) -> Tensor:
        """Map clouds (B, N, 3), categories (B,) and points (B, M, 3) of the same objects to logits (B, M, P)."""
        logits: Tensor = self.model(points, category, query=query)
        return logits


def network_of(model: nn.Module, task: str, *, points: int = 0) -> Network:
    """Return the network of a trained model, as it is: an adapter that is not merged stands in the graph.

    Args:
        model: As a run has trained it, in eval mode; afterwards nothing of it trains.
        task: Of the run: ``cls``, ``partseg`` or ``image``.
        points: Points of a cloud that the run shows it. It takes more as well; fewer are for the caller to repeat.
    """
    model.requires_grad_(False)
    merged, cloud = not hasattr(model, "adapters"), {0: "batch", 1: "points"}
    if task == "image":
        return Network(model, {"images": {0: "batch"}}, 0, merged)
    if task == "cls":
        return Network(model, {"points": cloud}, points, merged)
    inputs = {"points": cloud, "category": {0: "batch"}, "query": {0: "batch", 1: "queries"}}
    return Network(Segmenter(model).eval(), inputs, points, merged)


def absorb_adapter(model: nn.Module) -> bool:
    """Put a model's adapter into its weights and take it off, in place; return False where no weight can take it up."""
    if not hasattr(model, "adapters"):
        return True
    try:
        if host_of(model).merged is None:
            adapters.merge(model)
    except PccloraError:
        return False
    adapters.detach(model)
    return True
