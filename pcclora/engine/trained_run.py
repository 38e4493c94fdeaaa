"""A finished run used again: its model rebuilt from the base checkpoint and the adapter's files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pcclora import adapters
from pcclora.atomic import creating_folder, write_json
from pcclora.config import load_config
from pcclora.data import PointCloudDataset
from pcclora.engine.classification import base_checkpoint, build_classifier
from pcclora.engine.environment import make_accelerator
from pcclora.engine.evaluate import Evaluation
from pcclora.engine.results import measure, write_predictions
from pcclora.engine.run_folder import RunFolder
from pcclora.engine.settings import ClassificationRun
from pcclora.errors import PccloraError
from pcclora.models.checkpoints import load_checkpoint
from pcclora.registry import DATASETS, MODELS


def load_run(folder: RunFolder, *, checkpoint: str | None = None) -> tuple[ClassificationRun, nn.Module]:
    """Rebuild the trained model of a finished run, in eval mode on the CPU.

    Args:
        folder: The run.
        checkpoint: Where the base checkpoint is now, if it has moved.

    Raises:
        PccloraError: If the run is not finished, or the base weights are absent or other ones.
    """
    config = load_config(ClassificationRun, file=folder.config)
    model = build_classifier(config, num_classes=len(folder.read_summary()["classes"]), checkpoint=checkpoint)
    adapters.load_adapter(model, folder.adapter)  # compares the base's fingerprint
    return config, model.eval()


@dataclass(frozen=True)
class RunEvaluation:
    """A run evaluated again.

    Attributes:
        evaluation: Logits and labels.
        summary: Numbers, protocol and class names, as summary.json has them.
    """

    evaluation: Evaluation
    summary: dict[str, Any]


def evaluate_run(
    folder: RunFolder, *, checkpoint: str | None = None, split: str = "test", overrides: Sequence[str] = ()
) -> RunEvaluation:
    """Evaluate a finished run again.

    Args:
        folder: The run.
        checkpoint: Where the base checkpoint is now, if it has moved.
        split: Split of the data set.
        overrides: ``key=value`` of another protocol or data set with the same classes.

    Raises:
        PccloraError: If the run or the data cannot be used, or the data have other classes.
    """
    _, model = load_run(folder, checkpoint=checkpoint)
    config = load_config(ClassificationRun, file=folder.config, overrides=overrides)
    summary = folder.read_summary()
    dataset: PointCloudDataset = DATASETS.build(config.data, split=split)
    if list(dataset.class_names) != summary["classes"]:
        raise PccloraError(
            f"{dataset.name}: its classes ({', '.join(dataset.class_names)}) are not those of {folder.path} "
            f"({', '.join(summary['classes'])}); evaluate on data with the same class names"
        )
    accelerator = make_accelerator(config.train)
    evaluation, metrics = measure(config, dataset, model.to(accelerator.device), accelerator)
    changed = {"metrics": metrics, "data": f"{dataset.name}, split {split}", "samples": {split: len(dataset)}}
    changed["protocol"] = summary["protocol"] | {key: getattr(config, key) for key in ("points", "votes")}
    kept = {key: summary[key] for key in ("model", "checkpoint", "adapter", "classes")}
    return RunEvaluation(evaluation, kept | changed)


def evaluate_released(config: ClassificationRun, *, split: str = "test") -> RunEvaluation:
    """Evaluate a fine-tuned classifier as it was released: no adapter, its own head.

    Args:
        config: ``model``, ``checkpoint`` (the released file), data and protocol.
        split: Split of the data set.

    Raises:
        PccloraError: If the file or the data cannot be used, or the file has no head for the data's classes.
    """
    dataset: PointCloudDataset = DATASETS.build(config.data, split=split)
    model: nn.Module = MODELS.build(config.model, task="cls", num_classes=len(dataset.class_names))
    path = base_checkpoint(config)
    if path is None or not (report := load_checkpoint(model, path)).head_loaded:
        detail = "" if path is None else f"\n  {report}"
        raise PccloraError(
            f"checkpoint '{config.checkpoint}' has no classification head for the {len(dataset.class_names)} classes "
            f"of {dataset.name}, so there is nothing to evaluate: give a fine-tuned file, or train first{detail}"
        )
    accelerator = make_accelerator(config.train)
    evaluation, metrics = measure(config, dataset, model.to(accelerator.device), accelerator)
    summary = {
        "data": f"{dataset.name}, split {split}",
        "model": MODELS.name_of(config.model),
        "checkpoint": config.checkpoint,
        "adapter": {"name": "none, as released"},
        "metrics": metrics,
        "protocol": {"points": config.points, "votes": config.votes, "augmentation": config.augmentation},
        "samples": {split: len(dataset)},
        "classes": list(dataset.class_names),
    }
    return RunEvaluation(evaluation, summary)


def write_evaluation(result: RunEvaluation, output: Path) -> None:
    """Write summary.json and predictions.csv into a new folder.

    Raises:
        PccloraError: If something is there already.
    """
    with creating_folder(output) as temporary:
        write_json(temporary / "summary.json", result.summary)
        write_predictions(temporary / "predictions.csv", result.evaluation)
