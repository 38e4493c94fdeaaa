"""What data sets of made-up clouds have in common: an object is a pure function of (seed, split, index)."""

from abc import abstractmethod
from dataclasses import asdict
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import PointCloudDataset, Sample, check_split
from pcclora.data.digests import digest_of_text
from pcclora.errors import PccloraError

SPLITS = ("train", "test", "val")  # an object's place in it decides its shape: add at the end only
Object = tuple[NDArray[np.float64], NDArray[np.int64]]


class Recipe(Protocol):
    """The settings that all have: how many objects, of how many points; which; whether they are kept."""

    train: int
    test: int
    val: int
    points: int
    seed: int
    cache: bool


class MadeClouds(PointCloudDataset):
    """The objects of one split, made when they are asked for, in float64 from a Philox stream of their own.

    Args:
        config: How many and how hard; a dataclass.
        split: ``"train"``, ``"test"`` or ``"val"``.

    Raises:
        PccloraError: If there is no such split.
    """

    classes: ClassVar[tuple[str, ...]]

    def __init__(self, config: Recipe, *, split: str) -> None:
        check_split(self.name, split, SPLITS)
        self.config, self.split, self.class_names = config, split, self.classes
        self.labels = np.arange(getattr(config, split)) % len(self.classes)
        self._made: dict[int, Sample] = {}

    @abstractmethod
    def make(self, index: int, rng: np.random.Generator) -> Object:
        """Return points (N, 3) in the unit sphere, and the part (N,) of each."""

    def path_of(self, index: int) -> str:
        """Return what an object's recipe is called."""
        return f"{self.name}:{self.config.seed}/{self.split}/{index}"

    def digest_of(self, index: int) -> str:
        """Return what tells its recipe from others: nothing that only says how many objects there are."""
        return digest_of_text(f"{self._recipe} {self.split} {index}")

    @cached_property
    def _recipe(self) -> str:
        settings = asdict(self.config)  # type: ignore[call-overload]  # a dataclass, which no protocol can say
        return f"{self.name} { ({key: value for key, value in settings.items() if key not in (*SPLITS, 'cache')}) }"

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: index {index} of {len(self)} samples")
        sample = self._made.get(index) or self._make(index)
        if self.config.cache:
            self._made[index] = sample
        return sample

    def _make(self, index: int) -> Sample:
        entropy = (self.config.seed, SPLITS.index(self.split), index)
        points, parts = self.make(index, np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy))))
        return Sample(points.astype(np.float32), int(self.labels[index]), parts, self.path_of(index))


def check_settings(config: Recipe, *, not_negative: tuple[str, ...], shares: dict[str, float]) -> None:
    """Refuse settings that make no objects, or empty ones.

    Args:
        config: The settings.
        not_negative: Names of numbers that are zero or more.
        shares: Name of a share -> the largest that it may be.

    Raises:
        PccloraError: Naming the first that cannot be.
    """
    for name in (*SPLITS, "points"):
        if getattr(config, name) < 1:
            raise PccloraError(f"{name} is {getattr(config, name)}; at least 1 is needed")
    for name in ("seed", *not_negative):
        if not 0 <= getattr(config, name) < np.inf:
            raise PccloraError(f"{name} is {getattr(config, name)}; it cannot be negative")
    for name, largest in shares.items():
        if not 0 <= getattr(config, name) <= largest:
            raise PccloraError(f"{name} is {getattr(config, name)}; a share between 0 and {largest:g} is needed")
