"""Batches that an exported model is compared with eager on: the run's own test objects, if they are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from pcclora.data import DataConfig, LabelledDataset, ProceduralConfig, ProceduralImagesConfig, Subset
from pcclora.data.features import width_of
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.registry import DATASETS
from pcclora.runs.reload import TrainedRun
from pcclora.runs.splits import open_side
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import ImageRun, PartSegmentationRun

COUNT = 8
"""Samples in all."""
TRACED = 2
"""Samples of the batch that a model is traced with."""


@dataclass(frozen=True)
class Samples:
    """What is compared.

    Attributes:
        batches: Inputs of the model in their order; the first batch is for tracing, the others differ from it in every
            size that may vary.
        source: Where they come from, for the reader.
    """

    batches: tuple[tuple[Tensor, ...], ...]
    source: str


def samples_of(run: TrainedRun) -> Samples:
    """Return batches of a run's test objects, as its own test shows them; made-up ones, said, if they are gone.

    Args:
        run: A finished run.
    """
    dataset, source = _dataset(run)
    places = np.linspace(0, len(dataset) - 1, min(COUNT, len(dataset))).astype(np.int64)
    whole = _inputs(run, Subset(dataset, np.resize(places, COUNT)))
    first = tuple(value[:TRACED] for value in whole)
    one = tuple(value[:1] for value in whole)
    return Samples((first, tuple(map(_longer, whole)), one), source)


def _dataset(run: TrainedRun) -> tuple[LabelledDataset, str]:
    try:
        own = open_side(run.config, run.folder.path, "test")
    except PccloraError as error:
        logger.warning("%s: its own data are not there (%s); compared on made-up ones", run.path, error)
    else:
        return own, f"{own.name}, split test"
    made: DataConfig = ProceduralConfig()
    if isinstance(run.config, ImageRun):
        made = ProceduralImagesConfig()
    dataset: LabelledDataset = DATASETS.build(made, split="test")
    return dataset, f"{dataset.name}, made up"


def _inputs(run: TrainedRun, dataset: LabelledDataset) -> tuple[Tensor, ...]:
    """Return what the model is given of a data set, as one batch."""
    config: Any = replace(run.config, train=replace(run.config.train, workers=0, batch_size=len(dataset)))
    task = task_of(config)
    batch = next(iter(cast("Sequence[Mapping[str, Tensor]]", task.test_loader(config, dataset))))
    points, *others = task.inputs(batch)
    inputs = (_with_features(run, points), *others)
    if not isinstance(config, PartSegmentationRun):
        return inputs
    points, category = inputs
    return points, category % len(run.classes), batch.get("query", points[..., :3])


def _with_features(run: TrainedRun, points: Tensor) -> Tensor:
    """Return clouds with random features where made-up ones have none."""
    missing = 3 + width_of(run.features) - points.shape[-1] if run.features else 0
    drawn = torch.rand(*points.shape[:-1], missing, generator=torch.Generator().manual_seed(0))
    return torch.cat([points, drawn], dim=-1) if missing else points


def _longer(value: Tensor) -> Tensor:
    """Return clouds (B, N, 3 + C) with some of their points twice, so that there are more; others as they are."""
    return torch.cat([value, value[:, :7]], dim=1) if value.ndim == 3 else value
