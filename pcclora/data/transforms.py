"""Augmentation protocols by name. What a cloud becomes is a pure function of (seed, epoch, index), wherever it runs.

A published accuracy means nothing without its protocol (rotation alone is worth about three points on ScanObjectNN),
so each preset is one protocol of the literature; ``"scan_rot+jitter"`` applies several in order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import FloatArray, normalize_unit_sphere
from pcclora.data.features import columns_of, unit, width_of
from pcclora.errors import PccloraError, did_you_mean

Draw = Callable[[int], NDArray[np.float64]]
"""Returns that many uniform numbers of [0, 1); the only source of randomness, its stream is the same in every numpy."""
Points = NDArray[np.float64]
Move = Callable[[Points, Draw], Points]
"""Points (N, 3 + C) in and out, in float64: rounding to float32 happens once. What is beside a place stays as it is."""


@dataclass(frozen=True)
class Linear:
    """A step that multiplies places by a matrix, which turns normals as well.

    Attributes:
        matrix: Draws it, (3, 3); a place is a row and stands before it.
    """

    matrix: Callable[[Draw], Points]

    def __call__(self, points: Points, draw: Draw, normals: slice | None = None) -> Points:
        """Return points (N, 3 + C) multiplied; normals stay at right angles to their surface, with length 1."""
        matrix, out = self.matrix(draw), points.copy()
        out[:, :3] = points[:, :3] @ matrix
        if normals is not None:
            out[:, normals] = unit(points[:, normals] @ np.linalg.inv(matrix).T)
        return out


Step = Move | Linear


@dataclass(frozen=True)
class Preset:
    """One protocol.

    Attributes:
        train: What is done to a training cloud, in order.
        source: Where the protocol comes from.
        test: What is done to a test cloud, too: nothing random.
        keeps_points: Row i is the same point of the object before and after, so that its part is, too.
    """

    train: tuple[Step, ...]
    source: str
    test: tuple[Step, ...] = ()
    keeps_points: bool = True


def stream(*key: int) -> Draw:
    """Return an independent source of uniform numbers for a tuple of non-negative whole numbers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).random


def augment(
    points: FloatArray,
    *,
    preset: str,
    seed: int,
    epoch: int,
    index: int,
    train: bool = True,
    features: Sequence[str] = (),
) -> FloatArray:
    """Apply a protocol to one cloud.

    Args:
        points: (N, 3 + C) float32, y up; it is not changed.
        preset: A name of :data:`PRESETS`, or several joined by ``+``.
        seed: The run's seed.
        epoch: Another epoch (or vote), another draw.
        index: The sample's place in its data set.
        train: False applies only what the protocol does to test clouds as well.
        features: What the C further columns are: normals turn as their surface does, and others stay.

    Returns:
        A new (N, 3 + C) float32 array; the same on every platform and for every number of workers.

    Raises:
        PccloraError: If there is no such preset, or the points have other columns.
    """
    if points.ndim != 2 or points.shape[1] != (width := 3 + width_of(features)):
        raise PccloraError(f"augment: points must be (N, {width}), these are {points.shape}; name their features")
    draw, normals = stream(seed, epoch, index, 1), columns_of("normal", features) if "normal" in features else None
    out = points.astype(np.float64)
    for chosen in find_presets(preset):
        for step in chosen.train if train else chosen.test:
            out = step(out, draw, normals) if isinstance(step, Linear) else step(out, draw)
    return out.astype(np.float32)


def find_presets(names: str) -> list[Preset]:
    """Return the presets that ``"a+b"`` names.

    Raises:
        PccloraError: If one is unknown; the message has the nearest name.
    """
    for name in (parts := names.split("+")):
        if name not in PRESETS:
            raise PccloraError(f"unknown augmentation '{name}'{did_you_mean(name, PRESETS)}")
    return [PRESETS[name] for name in parts]


def scale(low: float, high: float) -> Step:
    """Return a step that scales each axis by its own factor, uniform in [low, high]."""
    return Linear(lambda draw: np.diag(low + (high - low) * draw(3)))


def scale_alike(low: float, high: float) -> Step:
    """Return a step that scales all axes by one factor, uniform in [low, high]."""
    return Linear(lambda draw: np.eye(3) * (low + (high - low) * draw(1)))


def translate(reach: float) -> Step:
    """Return a step that moves the cloud along each axis by a uniform length in [-reach, reach]."""

    def move(points: Points, draw: Draw) -> Points:
        return moved(points, reach * (2 * draw(3) - 1))

    return move


def moved(points: Points, by: Points) -> Points:
    """Return points (N, 3 + C) whose places are moved by (3,) or (N, 3)."""
    out = points.copy()
    out[:, :3] += by
    return out


@Linear
def rotate_y(draw: Draw) -> Points:
    """Turn the cloud about y, which is vertical in every data set, by one angle, uniform over the circle."""
    angle = 2 * np.pi * draw(1)[0]
    sin, cos = np.sin(angle), np.cos(angle)
    return np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])


def center_and_normalize(points: Points, draw: Draw) -> Points:
    """Put the centroid of the points that are used at the origin and the farthest of them at distance 1."""
    return normalize_unit_sphere(points).astype(np.float64)


def jitter(points: Points, draw: Draw) -> Points:
    """Move every point by a Gaussian of standard deviation 0.01 an axis, clipped at 0.05."""
    uniform = draw(2 * 3 * len(points)).reshape(2, len(points), 3)
    normal = np.sqrt(-2 * np.log1p(-uniform[0])) * np.cos(2 * np.pi * uniform[1])  # Box and Muller: no numpy algorithm
    return moved(points, np.clip(0.01 * normal, -0.05, 0.05))


def dropout(points: Points, draw: Draw) -> Points:
    """Replace a random share of the points, up to 87.5 %, by the first one, so that their number stays."""
    out = points.copy()
    out[draw(len(points)) < 0.875 * draw(1)] = points[0]
    return out


PRESETS: dict[str, Preset] = {
    "none": Preset((), "nothing is changed"),
    "mn40_st": Preset(
        (scale(2 / 3, 3 / 2), translate(0.2)), "ModelNet40 of Point-BERT, Point-MAE and descendants: ScaleAndTranslate"
    ),
    "scan_st": Preset(
        (scale(2 / 3, 3 / 2), translate(0.2)),
        "ScanObjectNN of Point-BERT and Point-MAE as published: ScaleAndTranslate",
    ),
    "scan_rot": Preset(
        (rotate_y,), "ScanObjectNN of ACT, ReCon and most PEFT papers: rotation about y, one angle a cloud"
    ),
    "scan_openpoints": Preset(
        (scale(0.9, 1.1), center_and_normalize, rotate_y),
        "ScanObjectNN of PointNeXt (OpenPoints): it centres and normalises at test time as well",
        test=(center_and_normalize,),
    ),
    "partseg_st": Preset(
        (scale_alike(0.8, 1.25), translate(0.1)),
        "ShapeNetPart of PointNet++, Point-BERT, Point-MAE and descendants: random scale and shift",
    ),
    "jitter": Preset((jitter,), "PointNet"),
    "dropout": Preset((dropout,), "PointNet++: random input dropout", keeps_points=False),
}
