"""AdamW's parameter groups and the learning rate, by the rules that Point-MAE and its descendants share."""

import math

import torch
from torch import nn

from pcclora.adapters.attach import rate_factors
from pcclora.engine.settings import Training
from pcclora.errors import PccloraError


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.AdamW:
    """Build AdamW over exactly the parameters that require a gradient.

    No weight decay for tensors of one dimension, biases, and names with ``token``, as Point-MAE's
    ``tools/builder.py``; a positional embedding of the class token is decayed there and here.

    What the adapter asks another learning rate for, and the head where it has one of its own, is in groups behind the
    others, with the key ``rate_factor``.

    Args:
        model: The model with its adapter attached.
        training: ``lr``, ``head_lr`` and ``weight_decay``.

    Raises:
        PccloraError: If nothing is to be trained.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trained:
        raise PccloraError("no parameter of the model requires a gradient; attach an adapter, or use adapter=full")
    factors = rate_factors(model)
    heads = tuple(f"{name}." for name in getattr(model, "head_names", ()))
    of_head = training.head_lr / training.lr if training.head_lr else 1.0
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, False): [], (1.0, True): []}
    for name, p in trained:
        plain = p.ndim <= 1 or name.endswith(".bias") or "token" in name
        factor = factors.get(name, 1.0) * (of_head if name.startswith(heads) else 1.0)
        groups.setdefault((factor, plain), []).append(p)
    made = [
        {"params": inside, "weight_decay": 0.0 if plain else training.weight_decay}
        | ({} if factor == 1 else {"lr": training.lr * factor, "rate_factor": factor})
        for (factor, plain), inside in groups.items()
        if inside
    ]
    return torch.optim.AdamW(made, lr=training.lr)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group of an optimiser its learning rate: ``lr`` times its factor, if it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("rate_factor", 1.0)


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
