"""From a program to a cloud: points on its surfaces, deformed, hidden from where a scanner stands, thinned, jittered.

More points are drawn than are wanted. Each gets a rank: those that are seen come first, in a random order that prefers
one side; then those that are hidden, the least hidden first. The first ones are the cloud, so that it always has as
many points as were asked for, none of them twice.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pcclora.data.sets.procedural.categories import Vary
from pcclora.data.sets.procedural.primitives import Vertices
from pcclora.data.sets.programs.program import NODES, Program

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
DRAWN = 3
"""Points that are drawn for one that is wanted: from one side a scanner sees two fifths of a surface."""
CELL = 0.085
"""Side of a cell of the depth image, in radii of the object: into one fall about eight points that are seen."""


class Difficulty(Protocol):
    """What a scan reads of the settings: see :class:`pcclora.data.sets.programs.dataset.ProgramsConfig`."""

    points: int
    deform: float
    occlusion: float
    views: int
    patches: float
    density: float
    noise: float
    outliers: float
    ground: float


def draw_points(program: Program, count: int, rng: np.random.Generator, *, least: int) -> tuple[Vertices, Labels]:
    """Draw points on what is left of all surfaces after cutting, evenly by area.

    Args:
        program: The object.
        count: About how many points; those that were cut away are missing.
        rng: Where the randomness comes from.
        least: The fewest that there must be: where cuts leave fewer, some of what they took is there again.

    Returns:
        Points (N, 3) and the node (N,) of each, ordered by surface.
    """
    surfaces = program.surfaces
    corners = np.concatenate([surface.mesh.vertices[surface.mesh.faces] for surface in surfaces])
    a, b, c = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    lengths = np.array([len(surface.mesh.faces) for surface in surfaces])
    scales = np.array([surface.places[0, :, 0] for surface in surfaces])
    copies = np.array([len(surface.places) for surface in surfaces])
    ends = np.cumsum(_area(b, c) * np.repeat(copies * (scales**2).sum(axis=1), lengths))
    draws = rng.random((4, count))
    spread = (np.arange(count) + draws[0]) * (ends[-1] / count)  # ascending: one point in each of as many equal areas
    faces = np.minimum(np.searchsorted(ends, spread, side="right"), len(ends) - 1)
    root = np.sqrt(draws[1])[:, None]
    points = a[faces] + root * (b[faces] + draws[2][:, None] * (c - b)[faces])
    owner = np.repeat(np.arange(len(surfaces)), lengths)[faces]
    kept = np.flatnonzero(uncut := _uncut(program, points, owner))
    if len(kept) < least:
        kept = np.sort(np.argsort(~uncut, kind="stable")[:least])
    chosen = (np.cumsum(copies) - copies)[owner] + (draws[3] * copies[owner]).astype(np.int64)
    places = np.concatenate([surface.places for surface in surfaces]).reshape(-1, 12).T[:, chosen[kept]]
    x, y, z = points[kept].T
    placed = [places[row] * x + places[row + 1] * y + places[row + 2] * z + places[row + 3] for row in (0, 4, 8)]
    return np.stack(placed, axis=1), np.array([surface.node for surface in surfaces])[owner[kept]]


def _area(b: Array, c: Array) -> Array:
    """Return twice the areas of triangles with these edges (F, 3)."""
    x = b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1]
    y = b[:, 2] * c[:, 0] - b[:, 0] * c[:, 2]
    z = b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]
    return np.asarray(np.sqrt(x * x + y * y + z * z))


def _uncut(program: Program, points: Vertices, owner: Labels) -> NDArray[np.bool_]:
    kept = np.ones(len(points), np.bool_)
    for index, surface in enumerate(program.surfaces):
        first, last = np.searchsorted(owner, (index, index + 1))
        for inside, wanted in surface.tests if last > first else ():
            kept[first:last] &= inside(points[first:last]) == wanted
    return kept


def to_unit_sphere(points: Vertices) -> Vertices:
    """Return points about their mean, the farthest at distance 1."""
    centred = points - points.mean(axis=0)
    reach = np.sqrt(np.einsum("ij,ij->i", centred, centred).max())
    return np.asarray(centred / (reach or 1))  # a single point stays where it is


def see(
    points: Vertices, labels: Labels, settings: Difficulty, v: Vary, rng: np.random.Generator
) -> tuple[Vertices, Labels]:
    """Make of many points those that a scanner gives.

    Args:
        points: (M, 3) in the unit sphere, at least as many as are wanted.
        labels: (M,) of each.
        settings: How hard.
        v: Draws single numbers.
        rng: Draws many.

    Returns:
        Points (N, 3) in the unit sphere and their labels (N,); N is ``settings.points``.
    """
    if v.chance(settings.ground):
        points, labels = _on_ground(points, labels, v, rng)
    buried = np.zeros(len(points))
    if v.chance(settings.occlusion):
        buried = np.min([depth_behind(points, _direction(rng)) for _ in range(v.whole(1, settings.views))], axis=0)
    if v.chance(0.5):
        buried += _missing(points, v(0, settings.patches), v)
    order = -np.exp(v(0, settings.density) * (points @ _direction(rng))) * rng.random(len(points))
    chosen = np.argsort(np.where(buried > 0, buried, order), kind="stable")[: settings.points]
    points, labels = points[chosen], labels[chosen]
    points = points + v(0, settings.noise) * v(0, 1) * rng.standard_normal(points.shape)
    stray = int(v(0, settings.outliers) * len(points)) if v.chance(0.3) else 0
    if stray:
        points[:stray] = 1.1 * np.cbrt(rng.random((stray, 1))) * _unit(rng.standard_normal((stray, 3)))
        labels = np.concatenate([np.full(stray, NODES - 1), labels[stray:]])
    return to_unit_sphere(points), labels


def _on_ground(points: Vertices, labels: Labels, v: Vary, rng: np.random.Generator) -> tuple[Vertices, Labels]:
    """Lay a disc under the object, a quarter to a half as many points."""
    count = int(v(0.25, 0.5) * len(points))
    draws = rng.random((2, count))
    reach, angle = v(0.6, 1.2) * np.sqrt(draws[0]), 2 * np.pi * draws[1]
    disc = np.stack([reach * np.cos(angle), np.full(count, points[:, 1].min()), reach * np.sin(angle)], axis=1)
    both = np.concatenate([points, disc])
    return to_unit_sphere(both), np.concatenate([labels, np.full(count, NODES - 1)])


def depth_behind(points: Vertices, view: Array, *, cell: float = CELL) -> Array:
    """Return how far (M,) each point lies behind what a scanner far away in a direction sees; 0 where it is seen.

    Args:
        points: (M, 3), none farther than 2 from the origin.
        view: (3,) unit vector towards the scanner.
        cell: Side of a cell of the depth image; what lies one and a half of them behind the nearest is hidden.
    """
    side = _unit(np.cross(view, np.eye(3)[np.abs(view).argmin()]))
    flat = points @ np.stack([side, np.cross(view, side), view], axis=1)
    row, column = np.floor((flat[:, :2].T + 2) / cell).astype(np.int64)
    width = int(4 / cell) + 1
    place = row * width + column
    nearest = np.full(width * width, -np.inf)
    np.maximum.at(nearest, place, flat[:, 2])
    return np.asarray(np.maximum(nearest[place] - flat[:, 2] - 1.5 * cell, 0))


def _missing(points: Vertices, share: float, v: Vary) -> Array:
    """Return how deep (M,) points lie in a ball about one of them that holds a share of all."""
    offset = points - points[int(v(0, 0.999) * len(points))]
    distance = np.sqrt(np.einsum("ij,ij->i", offset, offset))
    return np.asarray(np.maximum(np.partition(distance, place := int(share * len(points)))[place] - distance, 0))


def _direction(rng: np.random.Generator) -> Array:
    return _unit(rng.standard_normal(3))


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.sqrt((vectors**2).sum(axis=-1, keepdims=True)))


def deform(points: Vertices, v: Vary, strength: float) -> Vertices:
    """Return points that went through up to two random deformations; ``strength`` is the share of the largest."""
    for step in [v.pick(DEFORMATIONS) for _ in range(v.pick((0, 0, 1, 1, 2)))]:
        points = step(points, v, strength)
    return points


def _taper(points: Vertices, v: Vary, strength: float) -> Vertices:
    wide = 1 + v(-0.6, 0.6) * strength * points[:, 1]
    return points * np.stack([wide, np.ones_like(wide), wide], axis=1)


def _twist(points: Vertices, v: Vary, strength: float) -> Vertices:
    angle = v(-1.6, 1.6) * strength * points[:, 1]
    cos, sin, (x, y, z) = np.cos(angle), np.sin(angle), points.T
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=1)


def _bend(points: Vertices, v: Vary, strength: float) -> Vertices:
    """Bend the y axis, or a level one, to an arc."""
    curve, axes = v(0.05, 1.3) * strength * v.pick((-1, 1)) + 1e-6, v.pick(([0, 1, 2], [1, 0, 2], [1, 2, 0]))
    aside, along, third = points.T[axes]
    angle, reach = curve * along, 1 / curve - aside
    bent = np.stack([1 / curve - reach * np.cos(angle), reach * np.sin(angle), third], axis=1)
    return bent[:, np.argsort(axes)]


def _ripple(points: Vertices, v: Vary, strength: float) -> Vertices:
    """Shift every point by three sine waves: coarse ones bend limbs, fine ones roughen."""
    for _ in range(3):
        wave = np.array([v(-1, 1) for _ in range(3)])
        shift = np.array([v(-1, 1) for _ in range(3)])
        pitch = v(1.5, 9)
        points = points + (strength * 0.3 / pitch) * np.sin(pitch * (points @ wave) + v(0, 6.3))[:, None] * shift
    return points


def _shear(points: Vertices, v: Vary, strength: float) -> Vertices:
    lean = strength * np.array([v(-0.4, 0.4), 0, v(-0.4, 0.4)])
    return points + points[:, 1:2] * lean


DEFORMATIONS: tuple[Callable[[Vertices, Vary, float], Vertices], ...] = (
    _taper,
    _twist,
    _bend,
    _ripple,
    _ripple,
    _shear,
)
