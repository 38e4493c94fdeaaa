"""What points have beside their places, for a trunk that knows places alone: a small branch that starts at zero.

Each group's token gets a sum: of the nearest points to its centre, where they are and what else is known of them pass a
layer that all share and a second one; the largest values over the points pass a linear map to the token's width. That
map starts at zero, as the second factor of LoRA does, so that at first the model computes what it did without. The form
is PointNet's, at the place where the tokeniser's own is; 8,672 numbers for six channels at a width of 96.
"""

import torch
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.ops import gather, knn_points

WIDTHS = (32, 64)


class ChannelBranch(nn.Module):
    """The branch.

    Args:
        channels: Numbers of a point behind its place.
        dim: Width C of a token.
        group_size: Points K of a group.
    """

    def __init__(self, channels: int, dim: int, group_size: int) -> None:
        super().__init__()
        self.count, self.group_size = channels, group_size
        hidden, pooled = WIDTHS
        self.local = nn.Sequential(nn.Linear(3 + channels, hidden), nn.GELU(), nn.Linear(hidden, pooled))
        self.out = nn.Linear(pooled, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def places(self, points: Tensor) -> Tensor:
        """Return where the points (B, N, 3 + channels) are, (B, N, 3).

        Raises:
            PccloraError: If they have other channels.
        """
        if points.ndim != 3 or points.shape[-1] != 3 + self.count:
            raise PccloraError(
                f"points of shape {tuple(points.shape)}: (B, N, {3 + self.count}) is expected, x y z and the "
                f"{self.count} channels that the model was made for"
            )
        return points[..., :3].contiguous()

    def forward(self, points: Tensor, centers: Tensor) -> Tensor:
        """Return what is added to the groups' tokens, (B, G, C).

        Args:
            points: Clouds (B, N, 3 + channels).
            centers: Of the groups (B, G, 3).
        """
        with torch.no_grad():
            near = knn_points(centers, points[..., :3].contiguous(), K=self.group_size).idx
        own = gather(points, near)
        place = own[..., :3] - centers.unsqueeze(2)
        pooled = self.local(torch.cat([place, own[..., 3:]], dim=-1)).amax(dim=2)
        added: Tensor = self.out(pooled)
        return added
