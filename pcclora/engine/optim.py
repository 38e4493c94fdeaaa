"""AdamW's parameter groups and the learning rate, by the rules that Point-MAE and its descendants share."""

import math

import torch
from torch import nn

from pcclora.engine.settings import Training
from pcclora.errors import PccloraError


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.AdamW:
    """Build AdamW over exactly the parameters that require a gradient.

    No weight decay for tensors of one dimension, biases, and names with ``token``, as Point-MAE's
    ``tools/builder.py``; a positional embedding of the class token is decayed there and here.

    Args:
        model: The model with its adapter attached.
        training: ``lr`` and ``weight_decay``.

    Raises:
        PccloraError: If nothing is to be trained.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trained:
        raise PccloraError("no parameter of the model requires a gradient; attach an adapter, or use adapter=full")
    plain = [p for name, p in trained if p.ndim <= 1 or name.endswith(".bias") or "token" in name]
    chosen = {id(p) for p in plain}
    decayed = [p for _, p in trained if id(p) not in chosen]
    groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=training.lr)


def learning_rate(progress: float, training: Training) -> float:
    """Return the learning rate after ``progress`` epochs (a fraction inside an epoch).

    Equal to timm's ``CosineLRScheduler`` (``t_initial=epochs``, ``warmup_prefix=False``): a straight line from
    ``min_lr`` to ``lr``, then a cosine to ``min_lr`` that counts the warm-up's epochs too.

    Args:
        progress: 0 at the start, ``training.epochs`` at the end.
        training: ``lr``, ``min_lr``, ``warmup_epochs``, ``epochs``, ``schedule_by``.
    """
    at = math.floor(progress) if training.schedule_by == "epoch" else progress
    span = training.lr - training.min_lr
    if at < training.warmup_epochs:
        return training.min_lr + span * at / training.warmup_epochs
    return training.min_lr + span * 0.5 * (1 + math.cos(math.pi * min(at / training.epochs, 1.0)))
