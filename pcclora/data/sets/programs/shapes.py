"""What the programs are made of: solids that know what lies inside them, shells, tubes, struts and cages.

Every solid is one idea, a *loft*: an outline around the y axis, drawn up along a profile. Round on round is a lathe, a
polygon on a straight profile a prism, a superellipse on a superellipse a superquadric, and a gear on a vase is one as
well. That a point lies inside is read off the same two curves, so that any solid can be cut by any other.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcclora.data.sets.procedural.categories import Vary
from pcclora.data.sets.procedural.primitives import Faces, Mesh, Vertices, ring_faces, rotation, tube

Array = NDArray[np.float64]
Inside = Callable[[Vertices], NDArray[np.bool_]]
Curve = tuple[Array, Array]
"""Of an outline: angles, ascending from 0 to below 2 pi, and radii. Of a profile: heights from -1 to 1, and radii."""


class Solid(NamedTuple):
    """A closed surface, and whether points (N, 3) lie within it."""

    mesh: Mesh
    inside: Inside

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Solid":
        """Return the solid moved by (x, y, z)."""
        return Solid(self.mesh.at(x, y, z), lambda points: self.inside(points - np.array((x, y, z))))

    def stretched(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> "Solid":
        """Return the solid scaled along each axis."""
        return Solid(self.mesh.stretched(x, y, z), lambda points: self.inside(points / np.array((x, y, z))))

    def turned(self, *, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Solid":
        """Return the solid turned about the origin by degrees about x, then y, then z."""
        matrix = rotation(x, y, z)
        return Solid(self.mesh.turned(x=x, y=y, z=z), lambda points: self.inside(points @ matrix))


def loft(outline: Curve, profile: Curve) -> Solid:
    """Return the solid whose section at each height is the outline, scaled by the profile; both are at most 1."""
    (angle, reach), (height, radius) = outline, profile
    around, along = np.append(angle, 2 * np.pi), np.append(reach, reach[0])

    def inside(points: Vertices) -> NDArray[np.bool_]:
        x, y, z = points.T
        edge = np.interp(np.arctan2(z, x) % (2 * np.pi), around, along)
        limit = np.interp(y, height, radius, left=0, right=0)
        return np.asarray(np.hypot(x, z) < edge * limit)

    return Solid(
        _rings(outline, (np.concatenate([height[:1], height, height[-1:]]), np.concatenate([[0], radius, [0]]))), inside
    )


def shell(outline: Curve, profile: Curve, wall: float) -> Mesh:
    """Return a loft that is open at the top and hollow, down to a floor; ``wall`` is a share of its radius."""
    height, radius = profile
    floor = np.maximum(height[::-1], height[0] + wall)
    rows = np.concatenate([[height[0]], height, floor, [floor[-1]]])
    return _rings(outline, (rows, np.concatenate([[0], radius, radius[::-1] * (1 - wall), [0]])))


def cage(outline: Curve, profile: Curve, thickness: float, *, rows: int, columns: int) -> Mesh:
    """Return the rings and ribs of a loft, as struts."""
    (angle, reach), (height, radius) = outline, profile
    at, up = 2 * np.pi * np.arange(columns) / columns, np.linspace(-1, 1, rows)
    curve = at, np.interp(at, np.append(angle, 2 * np.pi), np.append(reach, reach[0]))
    grid = _rings(curve, (up, np.interp(up, height, radius))).vertices.reshape(rows, columns, 3)
    starts = np.concatenate([grid.reshape(-1, 3), grid[:-1].reshape(-1, 3)])
    ends = np.concatenate([np.roll(grid, -1, axis=1).reshape(-1, 3), grid[1:].reshape(-1, 3)])
    return struts(starts, ends, thickness)


def struts(starts: Vertices, ends: Vertices, thickness: float) -> Mesh:
    """Return square bars from ``starts`` (E, 3) to ``ends`` (E, 3); ``thickness`` is half their width."""
    along = ends - starts
    along /= np.maximum(np.sqrt((along**2).sum(axis=1, keepdims=True)), 1e-9)
    side = np.cross(along, np.eye(3)[np.abs(along).argmin(axis=1)])
    side /= np.maximum(np.sqrt((side**2).sum(axis=1, keepdims=True)), 1e-9)
    up = np.cross(side, along)
    ring = thickness * np.stack([side + up, up - side, -side - up, side - up], axis=1)  # (E, 4, 3)
    vertices = np.stack([starts[:, None] + ring, ends[:, None] + ring], axis=1)
    return Mesh(vertices.reshape(-1, 3), _strut_faces(len(starts)))


def frame(x: float, y: float, z: float, thickness: float) -> Mesh:
    """Return the twelve edges of a box of these half sizes."""
    starts, ends = _box_edges() * (x, y, z)
    return struts(starts, ends, thickness)


def lattice(v: Vary, x: float, y: float, z: float, thickness: float) -> Mesh:
    """Return a grid of bars in a box of these half sizes, up to four cells along an axis, some with diagonals."""
    counts = [v.whole(2, 4), v.whole(2, 5), v.whole(1, 3)]
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in counts]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) * (x, y, z)
    pairs = [(grid[:-1], grid[1:]), (grid[:, :-1], grid[:, 1:]), (grid[:, :, :-1], grid[:, :, 1:])]
    if v.chance(0.4):
        pairs.append((grid[:-1, :-1], grid[1:, 1:]))
    starts, ends = (np.concatenate([pair[end].reshape(-1, 3) for pair in pairs]) for end in range(2))
    return struts(starts, ends, thickness)


def cord(v: Vary, start: Array, end: Array, bow: float, radii: tuple[float, float]) -> Mesh:
    """Return a tube from ``start`` to ``end`` (3,), bent aside by up to ``bow``, from one radius to another."""
    t = np.linspace(0, 1, 12)[:, None]
    aside = np.array([[v(-bow, bow) for _ in range(3)] for _ in range(2)])
    first, second = start + (end - start) / 3 + aside[0], end - (end - start) / 3 + aside[1]
    path = (1 - t) ** 3 * start + 3 * t * (1 - t) ** 2 * first + 3 * t**2 * (1 - t) * second + t**3 * end
    radius = np.linspace(*radii, 12)
    radius[[0, -1]] *= 0.3  # rounded, nearly closed ends
    return tube(path, radius, sides=6)


def coil(v: Vary, radius: float, height: float, thickness: float) -> Mesh:
    """Return a spring about y of one and a half to four turns, wider at one end."""
    angle = np.linspace(0, 2 * np.pi * v(1.5, 4), 44)
    wide = np.linspace(1, v(0.4, 1), 44) * radius
    path = np.stack([wide * np.cos(angle), np.linspace(-height, height, 44), wide * np.sin(angle)], axis=1)
    return tube(path, thickness, sides=5)


def random_outline(v: Vary) -> Curve:
    """Draw a circle, a superellipse, a polygon, a star, a gear or a blob; its largest radius is 1."""
    kind = v.pick(("circle", "circle", "square", "superellipse", "polygon", "star", "gear", "blob"))
    count = {"polygon": v.whole(3, 8), "star": v.whole(3, 7), "gear": v.whole(4, 9), "square": 4}.get(kind, 1)
    angle = _turn(8 * count if kind == "gear" else count * max(1, 24 // count))
    phase = (angle * count / (2 * np.pi) + (0.5 if kind == "square" else 0)) % 1  # a square lies along the axes
    reach: NDArray[np.floating]
    match kind:
        case "circle":
            reach = np.ones_like(angle)
        case "superellipse":
            power = v(0.8, 5)
            reach = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
        case "square" | "polygon":
            half = np.pi / count
            reach = np.cos(half) / np.cos(2 * half * phase - half)
        case "star":
            reach = 1 - v(0.15, 0.6) * (1 - np.abs(2 * phase - 1))
        case "gear":
            reach = 1 - v(0.1, 0.35) * (phase >= 0.5)
        case _:
            waves = [v(0, 0.4) / k * np.cos(k * angle + v(0, 6.3)) for k in (1, 2, 3, 5)]
            reach = np.maximum(1 + np.sum(waves, axis=0), 0.3)
    return angle, np.asarray(reach / reach.max(), np.float64)


def random_profile(v: Vary) -> Curve:
    """Draw a straight, tapering, rounded, stepped or waisted profile; its largest radius is 1."""
    kind = v.pick(("straight", "straight", "taper", "round", "steps", "vase", "vase"))
    match kind:
        case "straight":
            return np.array([-1.0, 1.0]), np.ones(2)
        case "taper":
            return np.array([-1.0, 1.0]), np.array([1.0, v(0, 0.9)])[:: v.pick((1, -1))]
        case "round":
            angle, power = np.linspace(-np.pi / 2, np.pi / 2, 13), v(0.25, 1.4)
            height = np.sign(angle) * np.abs(np.sin(angle)) ** power
            return height, np.cos(angle).clip(0) ** v(0.25, 1.4)
        case "steps":
            count = v.whole(2, 4)
            height = np.repeat(np.sort([-1, *(v(-0.9, 0.9) for _ in range(count - 1)), 1]), 2)[1:-1]
            radius = np.repeat([v(0.25, 1) for _ in range(count)], 2)
            return height, radius / radius.max()
        case _:
            return vase(v, v.whole(3, 6))


def vase(v: Vary, knots: int) -> Curve:
    """Draw a profile that swings smoothly between random radii."""
    place = np.linspace(0, knots - 1, 15)
    whole = np.minimum(place.astype(np.int64), knots - 2)
    part = place - whole
    radius = np.array([v(0.12, 1) for _ in range(knots)])
    smooth = radius[whole] + (radius[whole + 1] - radius[whole]) * part * part * (3 - 2 * part)
    return np.linspace(-1, 1, 15), smooth / smooth.max()


def solid(v: Vary, x: float, y: float, z: float) -> Solid:
    """Draw a solid of these half sizes; a third of them lie on their side."""
    drawn = loft(random_outline(v), random_profile(v))
    if v.chance(0.35):
        drawn = drawn.turned(x=90) if v.chance(0.5) else drawn.turned(z=90)
    return drawn.stretched(x, y, z)


def block(x: float, y: float, z: float, *, taper: float = 1.0) -> Solid:
    """Return a box of these half sizes, its top ``taper`` times as wide and deep as its bottom."""
    square = loft((_turn(4) + np.pi / 4, np.ones(4)), (np.array([-1.0, 1.0]), np.array([1.0, taper])))
    root = np.sqrt(2)

    def inside(points: Vertices) -> NDArray[np.bool_]:
        limit = 1 - (1 - taper) * (points[:, 1] / y + 1) / 2
        return np.asarray(
            (np.abs(points / (x, y, z)) < np.stack([limit, np.ones_like(limit), limit], axis=1)).all(axis=1)
        )

    return Solid(square.mesh.stretched(x * root, y, z * root), inside)


def rounded(x: float, y: float, z: float) -> Solid:
    """Return an ellipsoid of these half axes."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    return loft((_turn(14), np.ones(14)), (np.sin(angle), np.cos(angle).clip(0))).stretched(x, y, z)


def rod(radius: float, height: float, *, top: float | None = None) -> Solid:
    """Return a cylinder about y of this half height; with another ``top`` radius a frustum."""
    end = radius if top is None else top
    wide = max(radius, end)
    profile = np.array([-1.0, 1.0]), np.array([radius, end]) / wide
    return loft((_turn(12), np.ones(12)), profile).stretched(wide, height, wide)


def _rings(outline: Curve, rows: Curve) -> Mesh:
    angle, reach = outline
    height, radius = rows
    vertices = np.empty((len(height), len(angle), 3))
    vertices[..., 0] = radius[:, None] * (reach * np.cos(angle))
    vertices[..., 1] = height[:, None]
    vertices[..., 2] = radius[:, None] * (reach * np.sin(angle))
    return Mesh(vertices.reshape(-1, 3), ring_faces(len(height), len(angle)))


@lru_cache
def _turn(count: int) -> Array:
    return 2 * np.pi * np.arange(count) / count


@lru_cache
def _strut_faces(count: int) -> Faces:
    faces = ring_faces(2, 4)
    return np.asarray((faces + 8 * np.arange(count)[:, None, None]).reshape(-1, 3))


@lru_cache
def _box_edges() -> Array:
    signs = np.array([(a, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    ends = [np.insert(signs, axis, end, axis=1) for end in (-1.0, 1.0) for axis in range(3)]
    return np.concatenate(ends).reshape(2, 12, 3)
