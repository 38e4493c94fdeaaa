"""Triangle meshes of simple solids, to build objects from: y is up, every solid is centred on the origin.

Almost all are one idea, a grid of vertices whose columns close to rings: a lathe turns a profile about y, a tube
carries a circle along a path. A :class:`Mesh` is immutable; ``at``, ``turned``, ``stretched`` and ``+`` give new ones.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]


class Mesh(NamedTuple):
    """Vertices (V, 3) and triangles (F, 3) of indices into them."""

    vertices: Vertices
    faces: Faces

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Mesh":
        """Return the mesh moved by (x, y, z)."""
        return Mesh(self.vertices + np.array((x, y, z)), self.faces)

    def stretched(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> "Mesh":
        """Return the mesh scaled along each axis; -1 mirrors."""
        return Mesh(self.vertices * (x, y, z), self.faces)

    def turned(self, *, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Mesh":
        """Return the mesh turned about the origin by degrees about x, then y, then z."""
        return Mesh(self.vertices @ rotation(x, y, z).T, self.faces)

    def mirrored(self) -> "Mesh":
        """Return the mesh together with its mirror image across x = 0."""
        return join([self, self.stretched(x=-1.0)])


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Return one mesh of all triangles."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), faces)


def rotation(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Return the (3, 3) matrix that turns a column vector by degrees about x, then y, then z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(np.radians((x, y, z))), np.cos(np.radians((x, y, z)))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def box(x: float, y: float, z: float, *, taper: float = 1.0) -> Mesh:
    """Return a box of these edge lengths; its top face is ``taper`` times as wide and deep as its bottom."""
    corners, faces = _unit_box()
    shape = corners * (x, y, z)
    shape[corners[:, 1] > 0] *= (taper, 1.0, taper)
    return Mesh(shape, faces)


def prism(outline: ArrayLike, depth: float) -> Mesh:
    """Return an outline in the x-y plane, (m, 2), drawn out along z; it must be star-shaped about its mean."""
    edge = np.asarray(outline, dtype=np.float64)
    centre = np.broadcast_to(edge.mean(axis=0), edge.shape)
    rows = np.stack([centre, edge, edge, centre])
    heights = np.array([-0.5, -0.5, 0.5, 0.5])[:, None, None] * depth
    vertices = np.concatenate([rows, np.broadcast_to(heights, (*rows.shape[:2], 1))], axis=2)
    return Mesh(vertices.reshape(-1, 3), ring_faces(4, len(edge)))


def lathe(profile: ArrayLike, *, sides: int = 20) -> Mesh:
    """Return the surface that a profile of (radius, y) pairs, (m, 2), leaves when it turns about the y axis."""
    radius, height = np.asarray(profile, dtype=np.float64).T
    circle = _circle(sides)
    vertices = np.empty((len(radius), sides, 3))
    vertices[..., 0::2] = radius[:, None, None] * circle
    vertices[..., 1] = height[:, None]
    return Mesh(vertices.reshape(-1, 3), ring_faces(len(radius), sides))


def cylinder(radius: float, height: float, *, top: float | None = None, sides: int = 20) -> Mesh:
    """Return a closed cylinder about y; with another ``top`` radius a frustum, with 0 a cone."""
    end = radius if top is None else top
    return lathe([(0, -height / 2), (radius, -height / 2), (end, height / 2), (0, height / 2)], sides=sides)


def ellipsoid(x: float, y: float, z: float, *, part: float = 1.0) -> Mesh:
    """Return an ellipsoid of these half axes; ``part`` < 1 keeps that share of its height, from the top."""
    angle = np.linspace(0, np.arccos(1 - 2 * part), 11)
    return lathe(np.stack([np.sin(angle), np.cos(angle)], axis=1)).stretched(x, y, z)


def tube(path: ArrayLike, radius: ArrayLike, *, sides: int = 8) -> Mesh:
    """Return a circle carried along a path (m, 3); ``radius`` is one number or one for each path point."""
    line = np.asarray(path, dtype=np.float64)
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    # The axis that the path leaves least: for a plane path its normal, so that the frame never flips.
    reference = np.eye(3)[np.argmin(np.ptp(line, axis=0))]
    side = np.cross(tangent, reference)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    frame = np.stack([side, np.cross(side, tangent)], axis=1)  # (m, 2, 3)
    reach = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(line))[:, None, None]
    vertices = line[:, None] + reach * (_circle(sides) @ frame)
    return Mesh(vertices.reshape(-1, 3), ring_faces(len(line), sides))


def arc(radius: float, *, start: float, stop: float, count: int = 14) -> Vertices:
    """Return points (count, 3) on a circle in the x-y plane from ``start`` to ``stop`` degrees."""
    angle = np.radians(np.linspace(start, stop, count))
    return radius * np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=1)


def torus(radius: float, thickness: float) -> Mesh:
    """Return a ring in the x-y plane; ``thickness`` is the radius of its tube."""
    return tube(arc(radius, start=0, stop=360, count=20), thickness)


@lru_cache
def _unit_box() -> tuple[Vertices, Faces]:
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))])


@lru_cache
def _circle(sides: int) -> NDArray[np.float64]:
    angle = 2 * np.pi * np.arange(sides) / sides
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@lru_cache
def ring_faces(rows: int, columns: int) -> Faces:
    """Return the triangles (2 (rows - 1) columns, 3) of a grid whose columns close to a ring."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    quads = np.stack([a, b, b + columns, a, b + columns, a + columns], axis=-1)
    return quads.reshape(-1, 3)
