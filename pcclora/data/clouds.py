"""A data set read by (epoch, index): as many points of a cloud as a model takes, augmented."""

import warnings
from math import ceil
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from pcclora.data.base import FloatArray, IntArray, LabelledDataset, Sample
from pcclora.data.batches import Cloud
from pcclora.data.features import width_of
from pcclora.data.transforms import Draw, augment, stream
from pcclora.errors import PccloraError
from pcclora.ops import sample_farthest_points

Sampling = Literal["fps", "first", "random"]


class Clouds(Dataset[Cloud]):
    """What a loader's workers read. Nothing here changes between epochs, so each worker may have its own copy.

    Args:
        dataset: Where samples come from.
        points: Points of each cloud.
        seed: Decides points and augmentation, with epoch and index.
        augmentation: Names of presets.
        sampling: Which of the stored points, see :func:`pcclora.data.loader.make_loader`.
        redraw: Draw points and augmentation anew in every epoch, or fix them.
        strict: Refuse a cloud of too few points.
        part_labels: Give the part of each point, too.
        whole: Give every stored point and its part, too.
    """

    def __init__(
        self,
        dataset: LabelledDataset,
        *,
        points: int,
        seed: int,
        augmentation: str,
        sampling: Sampling,
        redraw: bool,
        strict: bool,
        part_labels: bool = False,
        whole: bool = False,
    ) -> None:
        self.dataset, self.points, self.seed, self.augmentation = dataset, points, seed, augmentation
        self.sampling, self.redraw, self.strict = sampling, redraw, strict
        self.part_labels, self.whole = part_labels, whole
        self._farthest: dict[int, IntArray] = {}
        self._warned = False

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Cloud:
        epoch, index = key
        sample = self.dataset[index]
        cloud = sample.points[:, : 3 + width_of(self.dataset.features)]
        draw = stream(self.seed, epoch if self.redraw else 0, index, 0)
        if len(cloud) < self.points:
            self._report_few(f"{sample.path} has {len(cloud)} points, {self.points} are needed")
            chosen = np.append(np.arange(len(cloud)), (draw(self.points - len(cloud)) * len(cloud)).astype(np.int64))
        else:
            chosen = self._choose(cloud[:, :3], index, draw)
        if self.whole:
            query = self._augmented(cloud, epoch, index)
            parts = _parts(sample)
            return Cloud(query[chosen], sample.label, index, parts[chosen], query[:, :3], parts)
        points = self._augmented(cloud[chosen], epoch, index)
        return Cloud(points, sample.label, index, _parts(sample)[chosen] if self.part_labels else None)

    def _augmented(self, cloud: FloatArray, epoch: int, index: int) -> FloatArray:
        return augment(
            cloud,
            preset=self.augmentation,
            seed=self.seed,
            epoch=epoch,
            index=index,
            train=self.redraw,
            features=self.dataset.features,
        )

    def _choose(self, xyz: FloatArray, index: int, draw: Draw) -> IntArray:
        stored = np.arange(len(xyz))
        if len(xyz) == self.points and not self.redraw:
            return stored
        wanted = min(ceil(self.points * 1200 / 1024), len(xyz)) if self.redraw else self.points
        match self.sampling:
            case "random":
                pool = stored
            case "first":
                pool = stored[:wanted]
            case "fps":
                pool = self._farthest_points(xyz, wanted, index)
        if self.redraw or self.sampling == "random":
            pool = pool[np.argsort(draw(len(pool)), kind="stable")[: self.points]]
        return pool

    def _farthest_points(self, xyz: FloatArray, count: int, index: int) -> IntArray:
        if index not in self._farthest:  # the same in every epoch, and slow enough to be kept
            _, chosen = sample_farthest_points(torch.from_numpy(np.ascontiguousarray(xyz))[None], K=count)
            self._farthest[index] = chosen[0].numpy()
        return self._farthest[index]

    def _report_few(self, message: str) -> None:
        if self.strict:
            raise PccloraError(f"{message}; ask for fewer points, or drop strict to repeat points")
        if not self._warned:
            self._warned = True
            warnings.warn(f"{message}: points are repeated (said once)", stacklevel=2)


def _parts(sample: Sample) -> IntArray:
    if sample.part_labels is None:
        raise PccloraError(f"{sample.path}: no part labels, though its data set says what its classes are made of")
    return sample.part_labels
