"""``procedural``: the embedded data set. Sixteen categories made from a tiny grammar of shapes; no files, no download.

An object is built by its category (:mod:`pcclora.data.sets.procedural.categories`), turned, sampled on its surface,
partly hidden and jittered. Everything is a pure function of (seed, split, index), in float64 from a Philox stream, so
that the same index is the same cloud in every process and on every platform.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import DataConfig, Parts
from pcclora.data.sets.procedural.categories import CATEGORIES, Vary
from pcclora.data.sets.procedural.made import MadeClouds, Object, check_settings
from pcclora.data.sets.procedural.primitives import join, rotation
from pcclora.registry import DATASETS

CLASS_NAMES = tuple(entry.name for entry in CATEGORIES)
PART_NAMES = tuple(f"{entry.name}: {part}" for entry in CATEGORIES for part in entry.parts)
PARTS = Parts(
    PART_NAMES, tuple(tuple(range(entry.first_part, entry.first_part + len(entry.parts))) for entry in CATEGORIES)
)


@dataclass
class ProceduralConfig(DataConfig):
    """What objects to make, and how hard to make them.

    Attributes:
        train: Objects in the training split; classes take turns, so that all are equally frequent.
        test: Objects in the test split.
        val: Objects in the validation split, which nothing is trained or reported on: to choose settings on.
        points: Points stored for each object, before the loader draws its own number from them.
        seed: Another seed gives other objects.
        yaw: Largest turn about the vertical axis, in degrees to either side.
        tilt: Largest turn about the two other axes, in degrees to either side.
        stretch: Largest stretch along each axis, as a share: 0.2 scales by 1 / 1.2 to 1.2.
        noise: Largest standard deviation of the jitter, in units of the object's radius.
        occlusion: Largest share of the surface that something in front hides from a random viewpoint.
        density: Largest change of the sampling density over the object: exp(density x position towards a viewpoint).
        cache: Keep objects in memory once they are made.
    """

    train: int = 1600
    test: int = 400
    val: int = 400
    points: int = 2048
    seed: int = 0
    yaw: float = 180.0
    tilt: float = 15.0
    stretch: float = 0.25
    noise: float = 0.03
    occlusion: float = 0.4
    density: float = 1.0
    cache: bool = True

    def __post_init__(self) -> None:
        check_settings(self, not_negative=("yaw", "tilt", "stretch", "noise", "density"), shares={"occlusion": 0.9})


@DATASETS.register("procedural", config=ProceduralConfig)
class ProceduralDataset(MadeClouds):
    """The objects of one split, made when they are asked for (about a millisecond each)."""

    name = "procedural"
    classes = CLASS_NAMES
    parts = PARTS
    config: ProceduralConfig

    def make(self, index: int, rng: np.random.Generator) -> Object:
        """Return points (N, 3) in the unit sphere, and the global part number (N,) of each."""
        return make_object(int(self.labels[index]), self.config, rng)


def make_object(label: int, config: ProceduralConfig, rng: np.random.Generator) -> Object:
    """Make one object of a category.

    Args:
        label: Which category.
        config: How many points, and how hard.
        rng: Where the randomness comes from.

    Returns:
        Points (N, 3) centred in the unit sphere, and the global part number (N,) of each.
    """
    vary = Vary(rng)
    entry = CATEGORIES[label]
    named = list(entry.build(vary))
    mesh = join([part for _, part in named])
    part_of_face = np.repeat([entry.parts.index(name) for name, _ in named], [len(part.faces) for _, part in named])
    limit = np.log1p(config.stretch)
    scale = np.exp([vary(-limit, limit) for _ in range(3)])
    tilt = (vary(-config.tilt, config.tilt), 0, vary(-config.tilt, config.tilt))
    pose = rotation(*tilt) @ rotation(0, vary(-config.yaw, config.yaw), 0)
    vertices = (mesh.vertices * scale) @ pose.T
    points, faces = _scan(_to_unit_sphere(vertices)[mesh.faces], config, vary, rng)
    points += vary(0, config.noise) * rng.standard_normal(points.shape)
    return _to_unit_sphere(points), entry.first_part + part_of_face[faces]


def _scan(
    corners: NDArray[np.float64], config: ProceduralConfig, vary: Vary, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sample triangles (F, 3, 3) by area, denser towards a viewpoint, and hide what lies behind a disc in front."""
    view = _direction(rng)
    hidden = vary(0, config.occlusion)
    total = ceil(config.points / (1 - hidden))
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.sqrt((normal**2).sum(axis=1)) * np.exp(vary(0, config.density) * (corners.mean(axis=1) @ view))
    cumulative = np.cumsum(area)
    draws = rng.random((3, total))
    faces = np.searchsorted(cumulative, draws[0] * cumulative[-1], side="right")
    root = np.sqrt(draws[1])[:, None]
    a, b, c = (corners[faces, i] for i in range(3))
    points = (1 - root) * a + root * (b + draws[2][:, None] * (c - b))
    offset = points - points[0]  # the disc lies before the first sample: any point of the surface
    across = (offset**2).sum(axis=1) - (offset @ view) ** 2
    kept = np.sort(np.argsort(across, kind="stable")[total - config.points :])
    return points[kept], faces[kept]


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _to_unit_sphere(points: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = points - points.mean(axis=0)
    return np.asarray(centred / np.sqrt((centred**2).sum(axis=1).max()))
