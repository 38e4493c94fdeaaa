"""A finished run tested again, on its own data or on others, and a released model tested as it is."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pcclora.atomic import creating_folder, write_json
from pcclora.data import DataConfig, LabelledDataset
from pcclora.engine.data_record import FILE, DataRecord, objects_of, sha256_of, warn_of_shared
from pcclora.engine.devices import Processes
from pcclora.engine.environment import make_accelerator
from pcclora.engine.evaluator import Evaluation
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.models.load import load_checkpoint
from pcclora.paths import file_sha256
from pcclora.registry import DATASETS, MODELS
from pcclora.runs.build import base_checkpoint, make_head, tell_groups
from pcclora.runs.calibration import at_temperature
from pcclora.runs.finish import measure
from pcclora.runs.orientation import warn_of_turned_data
from pcclora.runs.reload import TrainedRun
from pcclora.runs.robustness import Trial, write_corruptions
from pcclora.runs.splits import holds_side, open_new_files, open_side
from pcclora.tasks.base import Labels
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import AdaptationRun

KEPT = ("task", "model", "checkpoint", "checkpoint_sha256", "adapter", "classes", "parts", "search")
"""What an evaluation's summary has from the run's."""


@dataclass(frozen=True)
class RunEvaluation:
    """A run evaluated again.

    Attributes:
        evaluation: What the model answered.
        names: What each sample is called.
        summary: Numbers, protocol and class names, as summary.json has them.
    """

    evaluation: Evaluation
    names: Sequence[str]
    summary: dict[str, Any]


def evaluate_run(
    run: TrainedRun,
    *,
    split: str = "test",
    overrides: Sequence[str] = (),
    new_files: bool = False,
    corruptions: Trial | None = None,
) -> RunEvaluation:
    """Evaluate a finished run again, on just the objects that it had, or on others.

    Args:
        run: The run.
        split: Split of the data set.
        overrides: ``key=value`` of another protocol or data set with the same classes.
        new_files: Only the objects that no side of the run has seen, as scans that came later.
        corruptions: Test also on these.

    Raises:
        PccloraError: If the run or the data cannot be used, the data have other classes, or they are the run's own and
            have changed.
    """
    own, summary, folder = run.config, run.summary, run.folder
    config = run.with_overrides(overrides)
    task = task_of(config)
    if corruptions:
        corruptions.check(config)
    if config.data.features != own.data.features:
        raise PccloraError(
            f"data.features is {_list(config.data.features)}, but {run.path} was trained with "
            f"{_list(own.data.features)}: say that, or train another run"
        )
    if run.is_pack and new_files:
        raise PccloraError(f"{run.path}: a pack does not say which objects the run has seen; use the run's folder")
    if run.is_pack:
        logger.warning("%s: a pack does not say what the run was trained and tested on: that is not checked", run.path)
        dataset = DATASETS.build(config.data, split=split)
    elif new_files:
        dataset = open_new_files(config, folder.path)
    elif _same_choice(config.data, own.data) and (
        _same_root(config.data, own.data) or holds_side(config, folder.path, split)
    ):
        dataset = open_side(config, folder.path, split)
    else:
        dataset = DATASETS.build(config.data, split=split)
    _check_labels(task.labels(dataset), run.labels, dataset.name, run.path)
    if new_files or config.data != own.data:
        warn_of_turned_data(folder.path, dataset, up=config.data.up)
    objects = objects_of(dataset)
    if split != "train" and (folder.path / FILE).exists():
        warn_of_shared(DataRecord.read(folder.path / FILE).trained_on, objects, place=dataset.name)
    accelerator = make_accelerator(config.train)
    model = run.to(accelerator.device).model
    evaluation, metrics = measure(config, dataset, model, accelerator)
    evaluation = at_temperature(evaluation, run.temperature)
    side = "new files" if new_files else f"split {split}"
    changed = {"metrics": metrics, "data": f"{dataset.name}, {side}", "samples": {split: len(dataset)}}
    changed["data_sha256"] = {split: sha256_of(objects)}
    changed["protocol"] = summary["protocol"] | task.protocol(config)
    kept = {key: summary[key] for key in KEPT if key in summary}
    changed |= _corrupted(corruptions, config, dataset, model, accelerator, evaluation)
    return RunEvaluation(evaluation, dataset.names, kept | changed | evaluation.details())


def evaluate_released(config: AdaptationRun, *, split: str = "test", corruptions: Trial | None = None) -> RunEvaluation:
    """Evaluate a fine-tuned model as it was released: no adapter, its own head.

    Args:
        config: ``model``, ``checkpoint`` (the released file), data and protocol.
        split: Split of the data set.
        corruptions: Test also on these.

    Raises:
        PccloraError: If the file or the data cannot be used, or the file has no head for the data's classes or parts.
    """
    if corruptions:
        corruptions.check(config)
    if config.data.features:
        raise PccloraError("data.features: a released model knows places alone; leave it out, or evaluate a run")
    dataset: LabelledDataset = DATASETS.build(config.data, split=split)
    task = task_of(config)
    labels = task.labels(dataset)
    model = make_head(config, labels)
    path = base_checkpoint(config)
    if path is None or not (report := load_checkpoint(model, path)).head_loaded:
        detail = "" if path is None else f"\n  {report}"
        kinds = f"{len(labels.class_names)} classes" if labels.parts is None else f"{len(labels.parts.names)} parts"
        raise PccloraError(
            f"checkpoint '{config.checkpoint}' has no {task.title} head for the {kinds} "
            f"of {dataset.name}, so there is nothing to evaluate: give a fine-tuned file, or train first{detail}"
        )
    tell_groups(config, report)
    accelerator = make_accelerator(config.train)
    evaluation, metrics = measure(config, dataset, model.to(accelerator.device), accelerator)
    summary = {
        "task": task.title,
        "data": f"{dataset.name}, split {split}",
        "model": MODELS.name_of(config.model),
        "checkpoint": config.checkpoint,
        "checkpoint_sha256": file_sha256(path),
        "adapter": {"name": "none, as released"},
        "metrics": metrics,
        "protocol": task.protocol(config),
        "samples": {split: len(dataset)},
        **labels.to_summary(),
        **_corrupted(corruptions, config, dataset, model, accelerator, evaluation),
    }
    return RunEvaluation(evaluation, dataset.names, summary | evaluation.details())


def write_evaluation(
    result: RunEvaluation, output: Path, *, draw: Callable[[RunFolder, Mapping[str, Any]], None] | None = None
) -> None:
    """Write summary.json, predictions and accuracies by corruption into a new folder: it appears whole, or not at all.

    Args:
        result: What was measured.
        output: The folder.
        draw: Adds the pictures of a folder and its summary.

    Raises:
        PccloraError: If something is there already.
    """
    with creating_folder(output) as temporary:
        write_json(temporary / "summary.json", result.summary)
        result.evaluation.write(temporary, names=result.names, classes=result.summary["classes"])
        if "corruptions" in result.summary:
            write_corruptions(result.summary["corruptions"], temporary)
        if draw:
            draw(RunFolder(temporary), result.summary)


def _corrupted(
    trial: Trial | None,
    config: AdaptationRun,
    dataset: LabelledDataset,
    model: nn.Module,
    accelerator: Processes,
    clean: Evaluation,
) -> dict[str, Any]:
    """Return what summary.json has of corruptions, if they are asked for."""
    if trial is None:
        return {}
    return {"corruptions": trial.test(config, dataset, model, accelerator, clean=clean.metrics()["accuracy"])}


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(names)}]"


def _same_choice(one: DataConfig, other: DataConfig) -> bool:
    """Return whether two configurations choose the same objects of their roots, however these are read."""
    ignored = {"root", *one.how_read}
    chosen, own = ({name: value for name, value in vars(data).items() if name not in ignored} for data in (one, other))
    return type(one) is type(other) and chosen == own


def _same_root(one: DataConfig, other: DataConfig) -> bool:
    """Return whether two configurations mean the same folder, however it is written; what has none has the same."""
    roots = (os.path.realpath(os.path.expanduser(data.root)) for data in (one, other))
    return len({*roots}) == 1


def _check_labels(found: Labels, expected: Labels, name: str, run: Path) -> None:
    if found.class_names != expected.class_names:
        raise PccloraError(
            f"{name}: its classes ({', '.join(found.class_names)}) are not those of {run} "
            f"({', '.join(expected.class_names)}); evaluate on data with the same class names"
        )
    if found.parts != expected.parts:
        raise PccloraError(f"{name}: its classes have other parts than those of {run}, see its summary.json")
