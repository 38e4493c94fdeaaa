"""What the transformer sees of a cloud: farthest-point centres, and around each the neighbourhood that is a token."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pcclora.errors import PccloraError
from pcclora.ops import knn_points, sample_farthest_points
from pcclora.vis.palette import BLACK, RIGHT, part_colours, rgb

COLOURS, NEARBY = 9, 8
"""How many colours the tokens share, and how many tokens around one have another."""


@dataclass(frozen=True)
class Tokens:
    """How a model cuts a cloud, as in its configuration.

    Attributes:
        num_groups: Number of tokens G.
        group_size: Points K of a token.
        points: Points that are drawn from a cloud first.
    """

    num_groups: int
    group_size: int
    points: int = 2048


def token_colours(points: NDArray[np.floating], tokens: Tokens) -> NDArray[np.uint8]:
    """Colour each point by the nearest token that it belongs to; centres black, points of no token grey.

    The rule of :func:`pcclora.models.points.tokenizer.Grouping`, on the farthest-point sample of the cloud.

    Args:
        points: (N, 3).
        tokens: How to cut it.

    Returns:
        (N, 3).

    Raises:
        PccloraError: If the cloud has fewer points than tokens, or than a token needs.
    """
    needed = max(tokens.num_groups, tokens.group_size)
    if len(points) < needed:
        raise PccloraError(f"a cloud of {len(points)} points cannot be cut into these tokens; {needed} are needed")
    cloud = torch.from_numpy(points - points.mean(axis=0, dtype=np.float64)).float()[None]
    drawn = sample_farthest_points(cloud, K=min(tokens.points, len(points)))[1][0]
    centres, own = sample_farthest_points(cloud[:, drawn], K=tokens.num_groups)
    dists, members, _ = knn_points(centres, cloud[:, drawn], K=tokens.group_size)
    nearest_last = dists.flatten().argsort(descending=True)
    colours = np.tile(rgb(RIGHT), (len(points), 1))
    shades = part_colours(COLOURS)[_spread(centres)].repeat(tokens.group_size, axis=0)
    colours[drawn[members.flatten()[nearest_last]]] = shades[nearest_last]
    colours[drawn[own[0]]] = rgb(BLACK)
    return colours


def _spread(centres: torch.Tensor) -> NDArray[np.int64]:
    """Give each of (1, G, 3) centres a colour (G,) that the tokens around it do not have, if one is left."""
    G = centres.shape[1]
    near = knn_points(centres, centres, K=min(NEARBY + 1, G)).idx[0].tolist()
    chosen = np.full(G, -1, np.int64)
    for token in range(G):
        taken = {int(chosen[other]) for other in near[token]}
        free = [colour for colour in range(COLOURS) if colour not in taken]
        chosen[token] = free[token % len(free)] if free else token % COLOURS
    return chosen
