"""Which tokens masked autoencoding hides: as many in each row, so that what is left is a tensor again."""

import torch
from torch import Tensor

from pcclora.errors import PccloraError


def random_mask(B: int, T: int, ratio: float) -> Tensor:
    """Return which of T tokens are hidden (B, T), at least one, drawn from torch's CPU generator.

    Args:
        B: Rows.
        T: Tokens of each.
        ratio: Share that is hidden, rounded down.
    """
    return torch.rand(B, T).argsort(dim=1) < max(1, int(ratio * T))


def check_mask(mask: Tensor, expected: tuple[int, int]) -> Tensor:
    """Return a mask, True = hidden, if it can be used.

    Args:
        mask: What was given.
        expected: Its shape (B, T).

    Raises:
        PccloraError: If it has another shape or type, or hides none, all, or another number in each row.
    """
    if mask.dtype != torch.bool or tuple(mask.shape) != expected:
        raise PccloraError(f"mask is {mask.dtype} {tuple(mask.shape)}, torch.bool {expected} is expected")
    hidden = mask.sum(dim=1)
    if bool((hidden != hidden[0]).any()) or not 0 < int(hidden[0]) < expected[1]:
        raise PccloraError(
            f"mask hides {hidden.tolist()} of {expected[1]} tokens; hide the same number in each row, and neither "
            "none nor all"
        )
    return mask


def rows(x: Tensor, chosen: Tensor) -> Tensor:
    """Pick the chosen tokens, the same number in each row: x (B, T, ...) and chosen (B, T) -> (B, M, ...)."""
    return x[chosen].reshape(len(x), -1, *x.shape[2:])
