"""Tokens that a method puts among those of the model, and takes out again."""

from collections.abc import Iterable

import torch
from torch import Tensor


def put_in(x: Tensor, prompts: Tensor, *, behind: int) -> Tensor:
    """Return tokens (B, T, C) with prompts (B, P, C) behind the first few of them."""
    return torch.cat([x[:, :behind], prompts, x[:, behind:]], dim=1)


def take_out(x: Tensor, count: int, *, behind: int) -> Tensor:
    """Return tokens (B, T, C) without ``count`` of them behind the first few."""
    return torch.cat([x[:, :behind], x[:, behind + count :]], dim=1)


def without_prompts(outputs: Iterable[Tensor], count: int, *, behind: int) -> list[Tensor]:
    """Return what blocks gave, each as ``count`` tokens (B, count, C): what is more stands behind the first few."""
    return [take_out(x, x.shape[1] - count, behind=behind) for x in outputs]
