"""What the transformer sees of a cloud: farthest-point centres, and around each the neighbourhood that is a token."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pcclora.errors import PccloraError
from pcclora.models.points.trunk import PointMAEConfig
from pcclora.ops import knn_points, sample_farthest_points
from pcclora.registry import MODELS
from pcclora.tasks.registry import task_of
from pcclora.vis.palette import BLACK, RIGHT, part_colours, rgb

SHOWN = 9
"""Tokens that are coloured at most: all of them overlap, and tell nothing."""


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


def tokens_of(config: Any) -> Tokens:
    """Return how the model of a run cuts a cloud.

    Args:
        config: The run.

    Raises:
        PccloraError: If it cuts none.
    """
    model = config.model
    if not isinstance(model, PointMAEConfig):
        raise PccloraError(f"model '{MODELS.name_of(model)}' cuts clouds into no tokens")
    groups = model.groups_of(task_of(config).head)
    return Tokens(num_groups=groups, group_size=model.group_size, points=config.points)


def token_colours(points: NDArray[np.floating], tokens: Tokens) -> NDArray[np.uint8]:
    """Colour the neighbourhoods of some tokens that lie apart; centres of all black, other points grey.

    The rule of :func:`pcclora.models.points.tokenizer.Grouping`, on the farthest-point sample of the cloud. A point
    outside the sample has the colour of a token whose centre it is as near to as the token's own points.

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
    reaches = knn_points(centres, cloud[:, drawn], K=tokens.group_size).dists[0, :, -1].sqrt()
    shown = _apart(centres[0], reaches)
    away = torch.cdist(cloud[0], centres[0, shown], compute_mode="donot_use_mm_for_euclid_dist")
    colours = np.tile(rgb(RIGHT), (len(points), 1))
    point, token = (away <= (1 + 1e-5) * reaches[shown]).nonzero().numpy().T
    colours[point] = part_colours(len(shown))[token]
    colours[drawn[own[0]]] = rgb(BLACK)
    return colours


def _apart(centres: torch.Tensor, reaches: torch.Tensor) -> list[int]:
    """Choose tokens in the order of the farthest points, each of which touches none before it."""
    between = torch.cdist(centres, centres)
    chosen: list[int] = []
    for token in range(len(centres)):
        free = all(between[token, other] > reaches[token] + reaches[other] for other in chosen)
        chosen += [token] if free and len(chosen) < SHOWN else []
    return chosen
