"""Sizes that a configuration may give a network: a slip of the keyboard is an error, not a full memory."""

from collections.abc import Mapping

LARGEST = 65_536
DEEPEST = 1_000
MOST_WEIGHTS = 5_000_000_000


def oversized(counts: Mapping[str, int], *, dim: int, depth: int) -> list[str]:
    """Return what is too large to be meant.

    Args:
        counts: Fields of a configuration by name.
        dim: Width of a token.
        depth: Number of blocks; a block has 12 ``dim ** 2`` weights.
    """
    wrong = [f"{name} is {value:,}, up to {LARGEST:,} is expected" for name, value in counts.items() if value > LARGEST]
    wrong += [f"depth is {depth:,}, up to {DEEPEST:,} is expected"] if LARGEST >= depth > DEEPEST else []
    weights = 12 * depth * dim**2
    if not wrong and weights > MOST_WEIGHTS:
        wrong.append(f"dim {dim:,} and depth {depth:,} are {weights:,} weights, up to {MOST_WEIGHTS:,} are expected")
    return wrong
