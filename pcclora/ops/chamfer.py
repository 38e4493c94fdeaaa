"""Chamfer distance: how far two point sets are from each other.

Fan et al., "A Point Set Generation Network for 3D Object Reconstruction from a Single Image", CVPR 2017. Must agree
with ``pytorch3d.loss.chamfer_distance`` and with ChamferDistanceL2 of the released Point-MAE.
"""

from torch import Tensor

from pcclora.ops.knn import knn_points


def chamfer_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared distance to the nearest point of the other set, summed over both directions.

    Args:
        x: (B, N, 3) float32 or float64.
        y: (B, M, 3) of the same dtype.

    Returns:
        A scalar in squared units of the coordinates; differentiable in both.

    Raises:
        PccloraError: If shape or dtype is wrong, or on a CPU if a coordinate is NaN or infinite.

    Examples:
        >>> import torch
        >>> from pcclora.ops import chamfer_distance
        >>> chamfer_distance(torch.zeros(1, 1, 3), torch.tensor([[[1.0, 0, 0], [3, 0, 0]]]))
        tensor(6.)
    """
    return knn_points(x, y, K=1).dists.mean() + knn_points(y, x, K=1).dists.mean()
