"""``procedural_programs``: endless objects of no category, to pre-train on. No files, no download.

An object is the outcome of a random program (:mod:`pcclora.data.sets.programs.grown` lists them): solids, tubes and
struts, mirrored, repeated, cut and deformed. Then it is seen as a scanner sees it. Everything is a pure function of
(seed, split, index), in float64 from a Philox stream.
"""

from dataclasses import dataclass

import numpy as np

from pcclora.data.base import DataConfig, Parts
from pcclora.data.sets.procedural.categories import Vary
from pcclora.data.sets.procedural.made import MadeClouds, Object, check_settings
from pcclora.data.sets.procedural.primitives import rotation
from pcclora.data.sets.programs.grown import PROGRAMS
from pcclora.data.sets.programs.program import NODES
from pcclora.data.sets.programs.scan import DRAWN, deform, draw_points, see, to_unit_sphere
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

CLASS_NAMES = ("object",)
PART_NAMES = (*(f"node {node}" for node in range(NODES - 1)), "surroundings")
FEWEST = 64
"""Points that are drawn at least: of an object of three points no scan can be made."""


@dataclass
class ProgramsConfig(DataConfig):
    """How many objects to make, and how they are seen.

    Attributes:
        train: Objects in the training split; a million costs no more memory than one, since none is kept.
        test: Objects in the test split.
        val: Objects in the validation split.
        points: Points stored for each object, before the loader draws its own number from them.
        seed: Another seed gives other objects.
        yaw: Largest turn about the vertical axis, in degrees to either side.
        tilt: Largest turn about the two other axes, in degrees to either side.
        stretch: Largest stretch along each axis, as a share: 0.2 scales by 1 / 1.2 to 1.2.
        deform: Strength of tapering, twisting, bending, rippling and shearing; 0 leaves objects as they were built.
        occlusion: Share of the objects that are seen from a few viewpoints only; of the others no point is hidden.
        views: Most viewpoints that an object is seen from.
        patches: Largest share of the surface that is missing in one place, in half of the objects.
        density: Largest change of the sampling density over the object: exp(density x position towards one side).
        noise: Largest standard deviation of the jitter, in units of the object's radius.
        outliers: Largest share of stray points, in three tenths of the objects.
        ground: Share of the objects that stand on a piece of floor.
        cache: Keep objects in memory once they are made.
    """

    train: int = 100_000
    test: int = 1000
    val: int = 1000
    points: int = 1024
    seed: int = 0
    yaw: float = 180.0
    tilt: float = 15.0
    stretch: float = 0.25
    deform: float = 0.6
    occlusion: float = 0.4
    views: int = 3
    patches: float = 0.3
    density: float = 1.0
    noise: float = 0.02
    outliers: float = 0.02
    ground: float = 0.05
    cache: bool = False

    def __post_init__(self) -> None:
        shares = {"deform": 1.0, "occlusion": 1.0, "patches": 0.6, "outliers": 0.5, "ground": 1.0}
        check_settings(self, not_negative=("yaw", "tilt", "stretch", "density", "noise"), shares=shares)
        if self.views < 1:
            raise PccloraError(f"views is {self.views}; at least 1 is needed, or no point of an object is seen")


@DATASETS.register("procedural_programs", config=ProgramsConfig)
class ProgramsDataset(MadeClouds):
    """The objects of one split, made when they are asked for; no category, and the nodes of the program as parts."""

    name = "procedural_programs"
    classes = CLASS_NAMES
    parts = Parts(PART_NAMES, (tuple(range(NODES)),))
    config: ProgramsConfig

    def make(self, index: int, rng: np.random.Generator) -> Object:
        """Return points (N, 3) in the unit sphere, and the node (N,) of each."""
        return make_program(self.config, rng)


def make_program(config: ProgramsConfig, rng: np.random.Generator) -> Object:
    """Make one object.

    Args:
        config: How many points, and how they are seen.
        rng: Where the randomness comes from.

    Returns:
        Points (N, 3) in the unit sphere, and the node (N,) of each.
    """
    v = Vary(rng)
    program = v.pick(PROGRAMS)(v)
    points, nodes = draw_points(program, DRAWN * max(config.points, FEWEST), rng, least=max(config.points, FEWEST))
    limit = np.log1p(config.stretch)
    points = to_unit_sphere(points * np.exp([v(-limit, limit) for _ in range(3)]))
    points = to_unit_sphere(deform(points, v, config.deform))
    tilt = (v(-config.tilt, config.tilt), 0, v(-config.tilt, config.tilt))
    pose = rotation(*tilt) @ rotation(0, v(-config.yaw, config.yaw), 0)
    return see(points @ pose.T, nodes, config, v, rng)
