"""One run of any task, from its configuration to its finished folder: what the ``train`` tools call."""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import nn

from pcclora import adapters
from pcclora.atomic import refuse_existing
from pcclora.config import to_yaml
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.environment import make_accelerator
from pcclora.engine.evaluator import Watched
from pcclora.engine.lock import locked
from pcclora.engine.loop import Job, fit, try_one_cloud
from pcclora.engine.run_folder import RunFolder, open_run
from pcclora.errors import PccloraError
from pcclora.models.checkpoints import load_checkpoint, weights_file
from pcclora.models.load_report import LoadReport
from pcclora.paths import is_file
from pcclora.registry import MODELS
from pcclora.runs.finish import finish
from pcclora.runs.splits import Splits, load_splits, recorded_splits
from pcclora.tasks.base import Labels
from pcclora.tasks.registry import check_kind, task_of
from pcclora.tasks.settings import AdaptationRun

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pcclora.tasks.settings import ClassificationRun, PartSegmentationRun

logger = logging.getLogger("pcclora")

Run = TypeVar("Run", bound=AdaptationRun)
NAMED_WEIGHTS = ("none", "bundled", "pretrained")
"""What a run's checkpoint may be beside a file."""


def train(config: AdaptationRun, output: Path, *, resume: bool = False) -> RunFolder:
    """Adapt a backbone to a task and write the run's folder.

    Args:
        config: The run; its class says which task.
        output: Its folder; with ``resume`` the folder of the run to go on with.
        resume: Go on from the last checkpoint.

    Returns:
        The finished folder.

    Raises:
        PccloraError: If the folder holds another run, or anything that the run needs cannot be used.
    """
    if resume and RunFolder.open(output).finished:
        return RunFolder(output)
    config = anchored(config)
    accelerator = make_accelerator(config.train)
    if not resume and accelerator.is_main_process:
        refuse_existing(output)
    splits, record = recorded_splits(load_splits(config), output, resume=resume)
    job = prepare(config, accelerator, splits)
    folder = open_run(output, to_yaml(_as_used(config)), _base(config, job.model), record, accelerator, resume=resume)
    with locked(output) if accelerator.is_main_process else nullcontext():
        state = fit(job, config.train, folder, accelerator, seed=config.seed)
        # the test of the last epoch is the test of the run, unless another epoch is selected
        tested = job.evaluate.last if config.selection == "last" and isinstance(job.evaluate, Watched) else None
        finish(config, folder, job.model, splits, state, accelerator, tested=tested)
    return folder


def prepare(config: AdaptationRun, accelerator: "Accelerator", splits: Splits) -> Job:
    """Build all that a run needs and pass one cloud through it; nothing is written.

    Args:
        config: The run.
        accelerator: From :func:`~pcclora.engine.environment.make_accelerator`.
        splits: Its data, from :func:`~pcclora.runs.splits.load_splits`.

    Returns:
        What the training loop needs.

    Raises:
        PccloraError: If anything that the run needs cannot be used.
    """
    task = task_of(config)
    loader = task.loader(config, splits.train)
    model = build_model(config, task.labels(splits.train), tell=accelerator.is_main_process)
    job = _job(config, model, loader, splits, accelerator)
    try_one_cloud(model, loader, task.inputs)
    return job


def build_model(
    config: AdaptationRun, labels: Labels, *, checkpoint: str | None = None, tell: bool = False
) -> nn.Module:
    """Build the backbone with its base weights; what has none is drawn from the run's seed.

    Args:
        config: ``task``, ``model``, ``checkpoint`` and ``seed``.
        labels: What it may answer.
        checkpoint: Where the base checkpoint is now, if not where the config says.
        tell: Log how clouds are cut, as :func:`tell_groups` does.

    Raises:
        PccloraError: If the checkpoint is absent or does not fit.
    """
    torch.manual_seed(config.seed)
    model = make_head(config, labels)
    source = base_checkpoint(config, checkpoint)
    if source is not None:
        report = load_checkpoint(model, source)
        if tell:
            tell_groups(config, report)
    return model


def tell_groups(config: AdaptationRun, report: LoadReport) -> None:
    """Log how many points and groups a network of a paper's size sees, beside those of the paper."""
    if report.groups:
        points = cast("ClassificationRun | PartSegmentationRun", config).points  # what is cut into groups has points
        logger.info("%s: %d points, %s", config.checkpoint, points, report.groups)


def make_head(config: AdaptationRun, labels: Labels) -> nn.Module:
    """Build the backbone with the task's head for these labels, without weights.

    Raises:
        PccloraError: If it has no such head, or its input is not what the task is about.
    """
    task, classes, parts = task_of(config), len(labels.class_names), labels.parts
    size = {"num_classes": classes} if parts is None else {"num_parts": len(parts.names), "num_categories": classes}
    model: nn.Module = MODELS.build(config.model, task=task.head, **size)
    check_kind(task, f"model '{MODELS.name_of(config.model)}'", getattr(model, "holds", task.holds))
    return model


def _as_used(config: Run) -> Run:
    """Return the run with the number of groups that its network has, where the task decides it (0)."""
    groups_of = getattr(config.model, "groups_of", None)
    if groups_of is None:
        return config
    return replace(config, model=replace(config.model, num_groups=groups_of(task_of(config).head)))


def anchored(config: Run) -> Run:
    """Return the run with the absolute path of its checkpoint: it may be used again from another working folder."""
    if config.checkpoint in NAMED_WEIGHTS:
        return config
    return replace(config, checkpoint=str(Path(os.path.expanduser(config.checkpoint)).resolve()))


def base_checkpoint(config: AdaptationRun, moved_to: str | None = None) -> Path | None:
    """Return the file of the base weights, or None for random ones.

    Raises:
        PccloraError: If it is not where it should be.
    """
    path = weights_file(config.model, moved_to or config.checkpoint)
    if path is not None and not is_file(path):
        raise PccloraError(
            f"checkpoint {path}: no such file; if it has moved, say where: --checkpoint FILE for a finished run, "
            "checkpoint=FILE for another"
        )
    return path


def file_sha256(path: Path | None) -> str | None:
    """Return the sha256 of a file of weights in hexadecimal; None where there is no file."""
    if path is None:
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _base(config: AdaptationRun, model: nn.Module) -> dict[str, str | None]:
    path = base_checkpoint(config)
    return {
        "checkpoint": config.checkpoint,
        "path": None if path is None else str(path),
        "sha256": file_sha256(path),
        "fingerprint": adapters.base_fingerprint(model),
    }


def _job(config: AdaptationRun, model: nn.Module, loader: Any, splits: Splits, accelerator: "Accelerator") -> Job:
    task = task_of(config)
    adapter = adapters.attach(model, config.adapter)
    watched = "validation" if config.selection == "validation" else "test"
    return Job(
        model=model,
        loader=loader,
        loss=partial(regularized, adapter, task.loss(config, task.labels(splits.train))),
        evaluate=Watched(task.evaluator(config, splits.watched, accelerator), split=watched),
        evaluations=tuple(f"{watched}_{k}" for k in ("loss", *task.figures)),
        weights=partial(adapters.adapter_tensors, model),
        load_weights=partial(adapters.load_adapter_tensors, model),
        select_by=None if config.selection == "last" else f"{watched}_{task.score}",
    )


def regularized(adapter: Any, loss: Callable[[nn.Module, Any], Tensors], model: nn.Module, batch: Any) -> Tensors:
    """Return a loss with the adapter's regularisation added to it."""
    means = loss(model, batch)
    regularization: torch.Tensor = adapter.regularization()
    return {"loss": means.pop("loss") + regularization, "regularization": regularization, **means}
