"""One training step, as every benchmark of adapters takes it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def training_step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return one training step, by AdamW, of what a model trains on one batch."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])

    def call() -> None:
        optimizer.zero_grad()
        loss_of(model, x).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return call


def loss_of(model: nn.Module, x: Tensor) -> Tensor:
    """Return a loss of all logits, and the adapter's own penalty."""
    loss: Tensor = model(x).logsumexp(dim=1).mean()
    penalty: Tensor | int = sum(adapter.regularization() for adapter in getattr(model, "adapters", {}).values())
    return loss + penalty
