"""A run that can begin: all that its configuration asks for is built, and nothing is written yet."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from pcclora import adapters
from pcclora.adapters.base import Adapter
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.evaluator import Evaluation, Watched
from pcclora.engine.loop import Batch, Job, Loss, try_one_cloud
from pcclora.runs.build import build_model
from pcclora.runs.splits import Splits
from pcclora.tasks.base import Task
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import AdaptationRun

if TYPE_CHECKING:
    from accelerate import Accelerator


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
    task = task_of(config)
    loader, labels = task.loader(config, splits.train), task.labels(splits.train)
    model = build_model(config, labels, tell=accelerator.is_main_process)
    adapter = adapters.attach(model, config.adapter)
    side = "validation" if config.selection == "validation" else "test"
    watched = Watched(task.evaluator(config, splits.watched, accelerator), split=side)
    job = Job(
        model=model,
        loader=loader,
        loss=partial(regularized, adapter, task.loss(config, labels)),
        evaluate=watched,
        evaluations=tuple(f"{side}_{k}" for k in ("loss", *task.figures)),
        weights=partial(adapters.adapter_tensors, model),
        load_weights=partial(adapters.load_adapter_tensors, model),
        select_by=None if config.selection == "last" else f"{side}_{task.score}",
    )
    try_one_cloud(model, loader, task.inputs)
    return Prepared(config, task, splits, accelerator, job, watched)


def regularized(adapter: Adapter, loss: Loss, model: nn.Module, batch: Batch) -> Tensors:
    """Return a loss with the adapter's regularisation added to it."""
    means = loss(model, batch)
    regularization = adapter.regularization()
    return {"loss": means.pop("loss") + regularization, "regularization": regularization, **means}
