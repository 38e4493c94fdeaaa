"""Pieces of a cloud that are labelled by one click: geometric super-points, from thousands down to one.

A thinned cloud is merged bottom up by Ward's criterion along the edges of its neighbourhood graph (scikit-learn), on
places and on the planes that the neighbours span: so pieces are compact, and end where the surface bends. All sizes
come from one tree, so the slider costs nothing; each other point belongs to the piece of the nearest thinned one.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import ward_tree
from sklearn.neighbors import NearestNeighbors

from pcclora.data.base import IntArray
from pcclora.data.sets.folder import thin

MOST_MERGED = 6000
"""Points of the thinned cloud: the tree of these takes half a second."""
NEIGHBOURS = 10
BENDING = 0.3
"""How much a quarter turn of the surface counts, in radii of the cloud."""


@dataclass(frozen=True)
class Superpoints:
    """The tree of pieces of one cloud.

    Attributes:
        merges: (M - 1, 2) which two pieces become one, the cheapest first; piece M + i is made by merge i.
        nearest: (N,) the thinned point, 0..M - 1, that each point of the cloud goes with.
    """

    merges: IntArray
    nearest: IntArray

    @property
    def most(self) -> int:
        """How many pieces there can be."""
        return len(self.merges) + 1

    def cut(self, count: int) -> IntArray:
        """Return the piece (N,) of every point, 0..``count`` - 1, where there are ``count`` of them.

        Args:
            count: How many pieces; fewer or more than there can be are the fewest or the most.
        """
        made = self.most - min(max(count, 1), self.most)
        parents = np.repeat(self.most + np.arange(made), 2)
        shape = (self.most + made, self.most + made)
        links = coo_array((np.ones(2 * made, np.int8), (self.merges[:made].ravel(), parents)), shape=shape)
        pieces = connected_components(links, directed=False)[1]
        return np.unique(pieces[: self.most], return_inverse=True)[1][self.nearest].astype(np.int64)


def find_superpoints(points: NDArray[np.floating]) -> Superpoints:
    """Build the tree of a cloud; the same points give the same tree.

    Args:
        points: (N, 3) of any scale, at least one.
    """
    centred = points - points.mean(axis=0, dtype=np.float64)
    centred /= max(float(np.sqrt((centred**2).sum(axis=1).max())), np.finfo(np.float64).tiny)
    kept = centred[thin(len(points), MOST_MERGED)]
    if len(kept) < 3:  # no surface
        return Superpoints(np.arange(2 * (len(kept) - 1)).reshape(-1, 2), np.arange(len(kept)))
    tree = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(kept) - 1)).fit(kept)
    graph = tree.kneighbors_graph()
    features = np.concatenate([kept, BENDING * _planes(kept, graph.indices.reshape(len(kept), -1))], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that pieces which do not touch are joined at last
        merges = ward_tree(features, connectivity=graph)[0]
    nearest = (
        tree.kneighbors(centred, 1, return_distance=False)[:, 0] if len(kept) < len(points) else np.arange(len(kept))
    )
    return Superpoints(merges.astype(np.int64), nearest.astype(np.int64))


def _planes(points: NDArray[np.float64], neighbours: NDArray[np.integer]) -> NDArray[np.float64]:
    """Describe (M, 9) the plane at each point by n nᵀ, which does not ask to which side the normal n points."""
    local = points[neighbours]
    local = local - local.mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(np.einsum("mki,mkj->mij", local, local))[1][:, :, 0]
    return np.asarray(normals[:, :, None] * normals[:, None, :]).reshape(len(points), 9)
