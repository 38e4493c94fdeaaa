"""Objects that are turned or bent. Sources: see :mod:`pcclora.data.corruptions.table`.

Free-form and radial-basis deformation are those of PyGeM, by which ModelNet40-C makes them: five control points an
axis, from -1 to 1.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from pcclora.data.corruptions.scene import Scene, in_cube, signs
from pcclora.data.transforms import Draw, Points

CONTROL = 5
RADIUS = 0.5


def rotation(scene: Scene, angle: float, draw: Draw) -> Points:
    """Turn about x, then y, then z, by ``angle`` plus or minus 2.5 degrees each, to either side. ModelNet40-C."""
    points = scene.seen
    for axis, turn in enumerate(np.radians(_about(angle, 2.5, 3, draw))):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        matrix = np.eye(3)
        matrix[[a, a, b, b], [a, b, a, b]] = np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)
        points = points @ matrix
    return in_cube(points)


def shear(scene: Scene, strength: float, draw: Draw) -> Points:
    """Add to x and z shares of both other axes, of ``strength`` plus or minus 0.05 to either side. ModelNet40-C.

    There six numbers are drawn and four of them used: heights stay.
    """
    b, d, e, f = _about(strength, 0.05, 4, draw)
    return in_cube(scene.seen @ np.array([[1, 0, b], [d, 1, e], [f, 0, 1]]))


def scale(scene: Scene, strength: float, draw: Draw) -> Points:
    """Make one axis longer and another shorter by a factor of 1 plus and minus ``strength``.

    In ModelNet40-C's code, but not one of its fifteen.
    """
    longer, shorter = [(0, 1), (1, 2), (0, 2)][int(3 * draw(1)[0])]
    factors, side = np.ones(3), signs(1, draw)[0]
    factors[[longer, shorter]] += strength * side * np.array([1, -1])
    return in_cube(scene.seen * factors)


def distortion(scene: Scene, strength: float, draw: Draw) -> Points:
    """Deform freely by a Bezier volume whose control points move by up to ``strength`` of its edge. ModelNet40-C."""
    s = (scene.seen[:, :, None] + 1) / 2
    powers = np.arange(CONTROL)
    weights = np.array([1, 4, 6, 4, 1]) * s**powers * (1 - s) ** powers[::-1]  # (N, 3, 5) Bernstein's polynomials
    moves = strength * (2 * draw(3 * CONTROL**3).reshape(3, CONTROL, CONTROL, CONTROL) - 1)
    shift = np.einsum("ni,nj,nk,dijk->nd", *weights.transpose(1, 0, 2), moves, optimize=True)
    inside = (np.abs(scene.seen) <= 1).all(axis=1, keepdims=True)
    return in_cube(scene.seen + np.where(inside, 2 * shift, 0))


def distortion_rbf(scene: Scene, strength: float, draw: Draw) -> Points:
    """Move control points by ``strength`` and all between them by multiquadrics of radius 0.5. ModelNet40-C."""
    return _moved(scene.seen, strength, _multiquadric, draw)


def distortion_rbf_inv(scene: Scene, strength: float, draw: Draw) -> Points:
    """Move control points by ``strength`` and all between them by inverse multiquadrics of radius 0.5. ModelNet40-C."""
    return _moved(scene.seen, strength, _inverse_multiquadric, draw)


def _about(middle: float, reach: float, count: int, draw: Draw) -> Points:
    return signs(count, draw) * (middle + reach * (2 * draw(count) - 1))


Kernel = Callable[[Points], Points]


def _multiquadric(square: Points) -> Points:
    return np.asarray(np.sqrt(square + RADIUS**2))


def _inverse_multiquadric(square: Points) -> Points:
    return 1.0 / np.sqrt(square + RADIUS**2)


def _moved(points: Points, strength: float, kernel: Kernel, draw: Draw) -> Points:
    around, level = np.pi * (2 * draw(2 * CONTROL**3).reshape(2, -1) - 1)
    move = [np.cos(around) * np.sin(level), np.sin(around) * np.sin(level), np.cos(level)]
    shifts = strength * np.stack(move, axis=1)
    return in_cube(points + _terms(points, kernel) @ _solver(kernel) @ shifts)


def _terms(points: Points, kernel: Kernel) -> Points:
    """Return what is summed at points (N, 3): the kernel of each control point, 1, x, y, z; (N, 129)."""
    controls = _controls()
    square = (points**2).sum(axis=1, keepdims=True) + (controls**2).sum(axis=1) - 2 * points @ controls.T
    return np.concatenate([kernel(square), np.ones((len(points), 1)), points], axis=1)


@cache
def _controls() -> Points:
    axis = np.linspace(-1, 1, CONTROL)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


@cache
def _solver(kernel: Kernel) -> Points:
    """Return the matrix (129, 125) from the moves of the control points to the factors of the terms."""
    terms = _terms(_controls(), kernel)
    count = len(terms)
    system = np.zeros((count + 4, count + 4))
    system[:count], system[count:, :count] = terms, terms[:, count:].T
    return np.asarray(np.linalg.inv(system)[:, :count], np.float64)
