"""The model of a run: the backbone with the task's head, and the base weights that it starts from."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import nn

from pcclora import adapters
from pcclora.adapters.base import Adapter
from pcclora.adapters.recompute import recompute_blocks
from pcclora.data.features import width_of
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.models.backbone import CHANNELS, Backbone
from pcclora.models.checkpoints.report import LoadReport
from pcclora.models.load import load_checkpoint, weights_file
from pcclora.paths import is_file
from pcclora.registry import MODELS
from pcclora.tasks.base import Labels
from pcclora.tasks.registry import check_kind, task_of
from pcclora.tasks.settings import AdaptationRun

if TYPE_CHECKING:
    from pcclora.tasks.settings import ClassificationRun, PartSegmentationRun


Run = TypeVar("Run", bound=AdaptationRun)
NAMED_WEIGHTS = ("none", "bundled", "pretrained")
"""What a run's checkpoint may be beside a file."""


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


def attach_adapter(config: AdaptationRun, model: nn.Module, *, trains: bool = False) -> Adapter:
    """Attach the run's adapter to its model.

    Args:
        config: ``adapter``, ``data.features`` and ``train.checkpointing``.
        model: From :func:`build_model`.
        trains: The model is going to be trained, so its blocks may be told to recompute.

    Raises:
        PccloraError: If it cannot act on this model, leaves frozen what reads the points' features, which is zero, or
            is to recompute blocks that are not there.
    """
    adapter = adapters.attach(model, config.adapter)
    if config.data.features and not any(p.requires_grad for p in model.get_submodule(CHANNELS).parameters()):
        raise PccloraError(
            f"adapter.modules_to_save is [{', '.join(adapter.modules_to_save)}], and data.features is read by "
            f"'{CHANNELS}', which says nothing until it is trained: name it too, or leave data.features empty"
        )
    if trains and config.train.checkpointing:
        recompute_blocks(model)
    return adapter


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
    size |= {"channels": width_of(config.data.features)} if config.data.features else {}
    model: nn.Module = MODELS.build(config.model, task=task.head, **size)
    check_kind(
        task, f"model '{MODELS.name_of(config.model)}'", model.holds if isinstance(model, Backbone) else task.holds
    )
    return model


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
            "checkpoint=FILE for another (checkpoint=none: random weights)"
        )
    return path
