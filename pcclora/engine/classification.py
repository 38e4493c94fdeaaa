"""One classification run, from its configuration to its finished folder. What ``tools/train_cls.py`` calls."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora import adapters
from pcclora.atomic import refuse_existing
from pcclora.config import to_yaml
from pcclora.data import Batch, make_loader
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.environment import make_accelerator
from pcclora.engine.loop import Job, fit, try_one_cloud
from pcclora.engine.results import finish, make_evaluator
from pcclora.engine.run_folder import RunFolder, open_run
from pcclora.engine.settings import ClassificationRun
from pcclora.engine.splits import Splits, load_splits
from pcclora.errors import PccloraError
from pcclora.models.checkpoints import bundled_weights, load_checkpoint
from pcclora.registry import MODELS

if TYPE_CHECKING:
    from accelerate import Accelerator


def train_classifier(config: ClassificationRun, output: Path, *, resume: bool = False) -> RunFolder:
    """Train a classifier and write its run folder.

    Args:
        config: The run.
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
    splits, job = prepare(config, accelerator)
    folder = open_run(output, to_yaml(config), _base(config, job.model), accelerator, resume=resume)
    state = fit(job, config.train, folder, accelerator, seed=config.seed)
    finish(config, folder, job.model, splits, state, accelerator)
    return folder


def prepare(config: ClassificationRun, accelerator: "Accelerator") -> tuple[Splits, Job]:
    """Build all that a run needs and pass one cloud through it; nothing is written.

    Args:
        config: The run.
        accelerator: From :func:`~pcclora.engine.environment.make_accelerator`.

    Returns:
        Its data, and what the training loop needs.

    Raises:
        PccloraError: If anything that the run needs cannot be used.
    """
    splits = load_splits(config)
    model = build_classifier(config, num_classes=len(splits.train.class_names))
    job = _job(config, model, adapters.attach(model, config.adapter), splits, accelerator)
    try_one_cloud(model, job.loader)
    return splits, job


def build_classifier(config: ClassificationRun, *, num_classes: int, checkpoint: str | None = None) -> nn.Module:
    """Build the backbone with its base weights; what has none is drawn from the run's seed.

    Args:
        config: ``model``, ``checkpoint`` and ``seed``.
        num_classes: Number of classes.
        checkpoint: Where the base checkpoint is now, if not where the config says.

    Raises:
        PccloraError: If the checkpoint is absent or does not fit.
    """
    torch.manual_seed(config.seed)
    model: nn.Module = MODELS.build(config.model, task="cls", num_classes=num_classes)
    source = base_checkpoint(config, checkpoint)
    if source is not None:
        load_checkpoint(model, source)
    return model


def anchored(config: ClassificationRun) -> ClassificationRun:
    """Return the run with the absolute path of its checkpoint: it may be used again from another working folder."""
    if config.checkpoint in ("none", "bundled"):
        return config
    return replace(config, checkpoint=str(Path(config.checkpoint).expanduser().resolve()))


def base_checkpoint(config: ClassificationRun, moved_to: str | None = None) -> Path | None:
    """Return the file of the base weights, or None for random ones.

    Raises:
        PccloraError: If it is not where it should be.
    """
    source = moved_to or config.checkpoint
    if source == "none":
        return None
    path = Path(bundled_weights(MODELS.name_of(config.model)) if source == "bundled" else source)
    if not path.is_file():
        raise PccloraError(
            f"checkpoint {path}: no such file; if it has moved, say where: --checkpoint FILE for a finished run, "
            "checkpoint=FILE for another"
        )
    return path


def _base(config: ClassificationRun, model: nn.Module) -> dict[str, str | None]:
    path = base_checkpoint(config)
    held = None if path is None else str(path)
    return {"checkpoint": config.checkpoint, "path": held, "fingerprint": adapters.base_fingerprint(model)}


def _job(config: ClassificationRun, model: nn.Module, adapter: Any, splits: Splits, accelerator: "Accelerator") -> Job:
    watch = make_evaluator(config, splits.watched, accelerator)
    watched = "validation" if config.selection == "validation" else "test"
    loader = make_loader(
        splits.train,
        points=config.points,
        batch_size=min(config.train.batch_size, len(splits.train)),
        train=True,
        seed=config.seed,
        augmentation=config.augmentation,
        workers=config.train.workers,
        drop_last=True,  # a batch of one would stop a head with batch norm
    )
    return Job(
        model=model,
        loader=loader,
        loss=partial(_loss, adapter, config.train.label_smoothing),
        evaluate=lambda m: {f"{watched}_{k}": v for k, v in watch(m).metrics().items()},
        evaluations=tuple(f"{watched}_{k}" for k in ("loss", "accuracy", "mean_class_accuracy")),
        weights=partial(adapters.adapter_tensors, model),
        load_weights=partial(adapters.load_adapter_tensors, model),
        select_by=None if config.selection == "last" else f"{watched}_accuracy",
    )


def _loss(adapter: Any, label_smoothing: float, model: nn.Module, batch: Batch) -> Tensors:
    logits = model(batch["points"])
    task = F.cross_entropy(logits, batch["labels"], label_smoothing=label_smoothing)
    regularization: Tensor = adapter.regularization()
    correct = (logits.argmax(dim=1) == batch["labels"]).float().mean()
    return {"loss": task + regularization, "regularization": regularization, "accuracy": correct}
