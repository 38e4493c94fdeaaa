"""What a classification run leaves: test accuracy by its protocol, predictions, the adapter's files, summary.json."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pcclora import adapters
from pcclora.atomic import write_json
from pcclora.config import to_dict
from pcclora.data import PointCloudDataset
from pcclora.engine.checkpoint import Checkpoint
from pcclora.engine.evaluate import Evaluation, Evaluator
from pcclora.engine.run_folder import RunFolder, read_rows, write_rows
from pcclora.engine.settings import ClassificationRun
from pcclora.engine.splits import Splits
from pcclora.metrics.counts import count_macs, count_parameters
from pcclora.registry import ADAPTERS, DATASETS, MODELS

if TYPE_CHECKING:
    from accelerate import Accelerator

SELECTION = {
    "last": "last epoch",
    "validation": "best epoch on a validation part of the training set",
    "best_on_test": "best epoch chosen on the test set",
}


def make_evaluator(
    config: ClassificationRun, dataset: PointCloudDataset, accelerator: "Accelerator", *, votes: int = 0
) -> Evaluator:
    """Prepare the evaluation of one data set by a run's protocol."""
    return Evaluator(
        dataset,
        points=config.points,
        batch_size=min(config.train.batch_size, len(dataset)),
        accelerator=accelerator,
        workers=config.train.workers,
        votes=votes,
        augmentation=config.augmentation,
        seed=config.seed,
    )


def measure(
    config: ClassificationRun, dataset: PointCloudDataset, model: nn.Module, accelerator: "Accelerator"
) -> tuple[Evaluation, dict[str, float]]:
    """Evaluate by the run's protocol; the name of each number says how it was come by.

    Returns:
        The evaluation without votes, and ``accuracy`` and ``mean_class_accuracy`` (0 to 1) of it and, with
        ``votes``, of the votes. A selection on the test set shows in every name, so that none is taken for another.
    """
    chosen = "_best_on_test" if config.selection == "best_on_test" else ""
    names = ("accuracy", "mean_class_accuracy")
    plain = make_evaluator(config, dataset, accelerator)(model)
    metrics = {f"{name}{chosen}": plain.metrics()[name] for name in names}
    if config.votes:
        voted = make_evaluator(config, dataset, accelerator, votes=config.votes)(model).metrics()
        metrics |= {f"{name}{chosen}_votes_{config.votes}": voted[name] for name in names}
    return plain, metrics


def finish(
    config: ClassificationRun,
    folder: RunFolder,
    model: nn.Module,
    splits: Splits,
    state: Checkpoint,
    accelerator: "Accelerator",
) -> None:
    """Test a trained model and write down all that is to stay; summary.json is the last.

    Args:
        config: The run.
        folder: Its folder.
        model: With the selected weights.
        splits: Its data.
        state: The last state of training.
        accelerator: Every process evaluates, the main process writes.
    """
    evaluation, metrics = measure(config, splits.test, model, accelerator)
    if not accelerator.is_main_process:
        return
    _save_adapter(model, folder)
    write_predictions(folder.predictions, evaluation)
    write_json(folder.summary, _summary(config, folder, model, splits, state, metrics))


def write_predictions(path: Path, evaluation: Evaluation) -> None:
    """Write one CSV line a sample: index, label, prediction, confidence."""
    columns = (evaluation.labels.tolist(), evaluation.predictions.tolist(), evaluation.confidences.tolist())
    rows = [[i, label, guess, f"{p:.6f}"] for i, (label, guess, p) in enumerate(zip(*columns, strict=True))]
    write_rows(path, ["index", "label", "prediction", "confidence"], rows)


def _save_adapter(model: nn.Module, folder: RunFolder) -> None:
    """Save into a fresh folder, then give it its name; what an interrupted end of a run left is replaced."""
    temporary = folder.adapter.with_name(".adapter.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    adapters.save_adapter(model, temporary)
    shutil.rmtree(folder.adapter, ignore_errors=True)
    temporary.rename(folder.adapter)


def _summary(
    config: ClassificationRun,
    folder: RunFolder,
    model: nn.Module,
    splits: Splits,
    state: Checkpoint,
    metrics: dict[str, float],
) -> dict[str, Any]:
    parameters, timing = count_parameters(model), read_rows(folder.timing)
    device = next(model.parameters()).device
    macs = count_macs(model, torch.rand(1, config.points, 3, generator=torch.Generator().manual_seed(0)).to(device))
    seconds = sum(row["train_seconds"] for row in timing)
    return {
        "task": "classification",
        "data": DATASETS.name_of(config.data),
        "model": MODELS.name_of(config.model),
        "checkpoint": config.checkpoint,
        "adapter": {"name": ADAPTERS.name_of(config.adapter), **to_dict(config.adapter)},
        "metrics": metrics,
        "protocol": {
            "augmentation": config.augmentation,
            "points": config.points,
            "votes": config.votes,
            "selection": SELECTION[config.selection],
            "seed": config.seed,
            "epochs": config.train.epochs,
        },
        "selected_epoch": state.best_epoch or state.epoch,
        "samples": {"train": len(splits.train), "test": len(splits.test)},
        "parameters": {"total": parameters.total, "trained": parameters.trainable, "share": parameters.share},
        "gmacs": {"total": macs.total / 1e9, "literature": macs.literature / 1e9},
        "train_seconds": seconds,
        "seconds_per_epoch": seconds / len(timing),
        "peak_memory_mb": max(row["peak_memory_mb"] for row in timing),
        "adapter_bytes": sum(file.stat().st_size for file in folder.adapter.iterdir()),
        "classes": list(splits.test.class_names),
    }
