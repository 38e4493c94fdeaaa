"""Recomputation: of each block only the input is kept for the backward pass, which computes the rest a second time.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174). What comes out is the same, bit for
bit: random numbers are drawn again from the same state.
"""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pcclora.adapters.base import Adapter
from pcclora.adapters.places import Seen, find_places, has_place
from pcclora.errors import PccloraError


def recompute_blocks(model: nn.Module) -> None:
    """Let a model's blocks recompute while it trains; in eval mode they are as before.

    Args:
        model: Declares ``block`` among its ``places``; with or without an adapter.

    Raises:
        PccloraError: If it has no blocks.
    """
    if not has_place(model, "block"):
        raise PccloraError(f"train.checkpointing=true: {type(model).__name__} has no blocks that could be recomputed")
    for place in find_places(model, ["block"]):
        block = model.get_submodule(place.module)
        block.forward = Recomputed(model, block)  # type: ignore[method-assign]


class Recomputed:
    """The forward of one block; an object, so that a copied model calls its own copy of the block.

    Args:
        model: What the block is part of.
        block: The block.
    """

    def __init__(self, model: nn.Module, block: nn.Module) -> None:
        self.model, self.block = model, block

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Return what the block gives."""
        if not (self.block.training and torch.is_grad_enabled()):
            return self._forward(*inputs, **named)
        seen = self._seen()
        before = dict(seen)  # what later places have taken out of it by then, the block asks for again
        first = True

        def forward(*inputs: Any, **named: Any) -> Any:
            nonlocal first
            if first:
                first = False
                return self._forward(*inputs, **named)
            now = dict(seen)
            _refill(seen, before)
            try:
                return self._forward(*inputs, **named)
            finally:
                _refill(seen, now)

        return checkpoint(forward, *inputs, use_reentrant=False, **named)

    def _forward(self, *inputs: Any, **named: Any) -> Any:
        return type(self.block).forward(self.block, *inputs, **named)

    def _seen(self) -> Seen:
        host: Any = getattr(self.model, "adapters", None)
        adapter: Adapter | None = None if host is None or host.active is None else host[host.active]
        return Seen() if adapter is None else adapter.seen


def _refill(seen: Seen, content: dict[str, Any]) -> None:
    seen.clear()
    seen.update(content)
