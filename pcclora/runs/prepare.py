"""A run that can begin: all that its configuration asks for is built, and nothing is written yet."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from pcclora import adapters
from pcclora.adapters.base import Adapter
from pcclora.data import LabelledDataset
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.evaluator import Evaluation, Watched
from pcclora.engine.loop import Batch, Job, Loss, try_one_cloud
from pcclora.engine.machine import check_machine
from pcclora.log import logger
from pcclora.runs.build import attach_adapter, build_model
from pcclora.runs.splits import Splits
from pcclora.tasks.base import Task
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import AdaptationRun

if TYPE_CHECKING:
    from accelerate import Accelerator

SKEWED = 4
"""How many times the objects of the smallest class the largest may have before a word is said."""


@dataclass(frozen=True)
class Prepared:
    """What one run is made of.

    Attributes:
        config: Its configuration.
        task: What it is about.
        splits: Its data.
        accelerator: What it computes on; every process evaluates, the main process writes.
        job: What the training loop needs; its model has the adapter, and in the end the selected weights.
        watched: The job's evaluation.
    """

    config: AdaptationRun
    task: Task[AdaptationRun]
    splits: Splits
    accelerator: "Accelerator"
    job: Job
    watched: Watched[Evaluation]

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        return self.job.model

    @property
    def tested(self) -> Evaluation | None:
        """The evaluation of the test set by the weights that are kept, if the loop has made it: by the last epoch's."""
        return self.watched.last if self.config.selection == "last" else None


def prepare(config: AdaptationRun, accelerator: "Accelerator", splits: Splits) -> Prepared:
    """Build all that a run needs and pass one cloud through it; nothing is written.

    Args:
        config: The run.
        accelerator: From :func:`~pcclora.engine.environment.make_accelerator`.
        splits: Its data, from :func:`~pcclora.runs.splits.load_splits`.

    Raises:
        PccloraError: If anything that the run needs cannot be used.
    """
    check_machine(config.train, accelerator.device)
    task = task_of(config)
    _point_out_skew(config, splits.train)
    loader, labels = task.loader(config, splits.train), task.labels(splits.train)
    model = build_model(config, labels, tell=accelerator.is_main_process)
    adapter = attach_adapter(config, model, trains=True)
    side = "validation" if config.selection == "validation" else "test"
    watched = Watched(task.evaluator(config, splits.watched, accelerator), split=side)
    job = Job(
        model=model,
        loader=loader,
        loss=partial(regularized, adapter, task.loss(config, splits.train)),
        evaluate=watched,
        evaluations=tuple(f"{side}_{k}" for k in ("loss", *task.figures)),
        weights=partial(adapters.adapter_tensors, model),
        load_weights=partial(adapters.load_adapter_tensors, model),
        select_by=None if config.selection == "last" else f"{side}_{task.score}",
        patience=config.train.patience,
    )
    try_one_cloud(model, loader, task.inputs)
    return Prepared(config, task, splits, accelerator, job, watched)


def _point_out_skew(config: AdaptationRun, train: LabelledDataset) -> None:
    """Say of the user's own classes that one has many times the objects of another, if nothing is done about it."""
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    weighed = config.train.sampler == "balanced" or getattr(config.train, "class_weights", "none") == "balanced"
    if config.data.split_seed is None or weighed or not counts.all() or counts.max() < SKEWED * counts.min():
        return
    most, least = (f"{counts[label]} of '{train.class_names[label]}'" for label in (counts.argmax(), counts.argmin()))
    remedies = "train.sampler=balanced" + " or train.class_weights=balanced" * hasattr(config.train, "class_weights")
    logger.warning("%s: there are %s to train on, %s; %s weighs them alike", train.name, most, least, remedies)


def regularized(adapter: Adapter, loss: Loss, model: nn.Module, batch: Batch) -> Tensors:
    """Return a loss with the adapter's regularisation added to it."""
    means = loss(model, batch)
    regularization = adapter.regularization()
    return {"loss": means.pop("loss") + regularization, "regularization": regularization, **means}
