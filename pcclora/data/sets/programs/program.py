"""A program in the making: surfaces, each with the places where copies of it stand, and what is cut away from it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pcclora.data.sets.procedural.primitives import Mesh, rotation
from pcclora.data.sets.programs.shapes import Inside, Solid

Array = NDArray[np.float64]
Places = NDArray[np.float64]
"""(K, 3, 4): what moves a surface to each of its copies, a matrix and a shift; lengths keep their ratios."""
NODES = 16
"""Part labels: 0 is the node that a program begins with; the last is what is no part of it, ground and outliers."""


@dataclass(frozen=True)
class Surface:
    """Triangles that belong to one node.

    Attributes:
        mesh: The triangles.
        node: Which node, from 0.
        places: Where its copies are.
        tests: A point is there only if it lies inside each of these (True) or outside (False).
    """

    mesh: Mesh
    node: int
    places: Places
    tests: tuple[tuple[Inside, bool], ...] = ()


class Program:
    """Surfaces, in the order in which nodes were added."""

    def __init__(self) -> None:
        self.surfaces: list[Surface] = []
        self.nodes = 0

    def add(self, shape: Mesh | Solid, places: Places | None = None, *, cut: Sequence[Solid] = ()) -> None:
        """Add a node.

        Args:
            shape: What it looks like.
            places: Where its copies stand; None is once, where it is.
            cut: Solids that are taken out of a solid shape, so that their own surfaces line the holes.
        """
        node, places = min(self.nodes, NODES - 2), ONCE if places is None else places
        self.nodes += 1
        if isinstance(shape, Mesh):
            self.surfaces.append(Surface(shape, node, places))
            return
        self.surfaces.append(Surface(shape.mesh, node, places, tuple((hole.inside, False) for hole in cut)))
        for hole in cut:
            others = tuple((other.inside, False) for other in cut if other is not hole)
            self.surfaces.append(Surface(hole.mesh, node, places, ((shape.inside, True), *others)))

    def include(self, other: "Program", places: Places) -> None:
        """Add all nodes of another program, copied to some places."""
        for surface in other.surfaces:
            node = min(self.nodes + surface.node, NODES - 2)
            self.surfaces.append(replace(surface, node=node, places=compose(places, surface.places)))
        self.nodes += other.nodes

    def box(self) -> Array:
        """Return the corners (2, 3), lowest and highest, of a box around all surfaces."""
        ends = [_ends(surface) for surface in self.surfaces]
        return np.stack([np.min([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)])


def _ends(surface: Surface) -> tuple[Array, Array]:
    """Return the box of all copies, each by the turned box of its mesh."""
    low, high = surface.mesh.vertices.min(axis=0), surface.mesh.vertices.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    centre = surface.places[:, :, :3] @ middle + surface.places[:, :, 3]
    reach = np.abs(surface.places[:, :, :3]) @ half
    return (centre - reach).min(axis=0), (centre + reach).max(axis=0)


def compose(outer: Places, inner: Places) -> Places:
    """Return the K x L places of copies of copies."""
    matrix = outer[:, None, :, :3] @ inner[None, :, :, :3]
    shift = (outer[:, None, :, :3] @ inner[None, :, :, 3:])[..., 0] + outer[:, None, :, 3]
    return np.concatenate([matrix, shift[..., None]], axis=-1).reshape(-1, 3, 4)


def moved(shifts: Iterable[Sequence[float] | Array], *, scale: float = 1.0) -> Places:
    """Return copies at shifts (K, 3), all of one scale."""
    along = np.asarray(list(shifts), dtype=np.float64)
    places = np.zeros((len(along), 3, 4))
    places[:, :, :3] = scale * np.eye(3)
    places[:, :, 3] = along
    return places


def turned(degrees: Sequence[float] | NDArray[np.floating]) -> Places:
    """Return copies turned about the y axis."""
    angles = np.radians(np.asarray(degrees, dtype=np.float64))
    places = np.zeros((len(angles), 3, 4))
    places[:, 0, 0] = places[:, 2, 2] = np.cos(angles)
    places[:, 0, 2] = np.sin(angles)
    places[:, 2, 0] = -np.sin(angles)
    places[:, 1, 1] = 1
    return places


def posed(x: float, y: float, z: float) -> Places:
    """Return one copy, turned by degrees about x, then y, then z."""
    return np.concatenate([rotation(x, y, z), np.zeros((3, 1))], axis=1)[None]


def around(count: int) -> Places:
    """Return copies turned about the y axis, evenly."""
    return turned(np.arange(count) * 360 / count)


def mirrored(axis: int = 0) -> Places:
    """Return the surface and its mirror image across the plane of x = 0 (or another axis)."""
    both = moved(np.zeros((2, 3)))
    both[1, axis, axis] = -1
    return both


def rows(counts: Sequence[int], steps: Sequence[float]) -> Places:
    """Return copies on a grid about the origin, so many along each axis, so far apart."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(counts, steps, strict=True)]
    return moved(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3))


ONCE = moved([(0, 0, 0)])
CORNERS = compose(mirrored(0), mirrored(2))
