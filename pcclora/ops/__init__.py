"""Geometry on batches of point clouds (B, N, 3): exact, with ties to the lowest index, bit for bit the same everywhere.

Names, argument order and meaning are those of ``pytorch3d.ops`` where it has them (squared distances, sorted); unlike
there, K > N is an error. CPU tensors use a native kernel where the package has one, everything else plain torch.
"""

from pcclora.ops.chamfer import chamfer_distance
from pcclora.ops.dispatch import backends
from pcclora.ops.fps import sample_farthest_points
from pcclora.ops.gathering import argsort, gather
from pcclora.ops.interpolate import interpolate_nn, interpolate_three_nn
from pcclora.ops.knn import Neighbours, knn_points

__all__ = [
    "Neighbours",
    "argsort",
    "backends",
    "chamfer_distance",
    "gather",
    "interpolate_nn",
    "interpolate_three_nn",
    "knn_points",
    "sample_farthest_points",
]
