"""What a run leaves: test figures by its protocol, predictions, the adapter's files, summary.json."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from pcclora import adapters
from pcclora.adapters.files.card import write_card
from pcclora.adapters.files.folder import CONFIG, TENSORS
from pcclora.atomic import write_json
from pcclora.config import to_dict
from pcclora.data import LabelledDataset
from pcclora.engine.checkpoint import Checkpoint
from pcclora.engine.data_record import FILE, DataRecord
from pcclora.engine.evaluator import Evaluation
from pcclora.engine.run_folder import TIMING, RunFolder, read_rows
from pcclora.metrics.counts import count_macs, count_parameters
from pcclora.models.backbone import CHANNELS
from pcclora.registry import ADAPTERS, MODELS
from pcclora.runs import orientation
from pcclora.runs.calibration import at_temperature, temperature_on
from pcclora.runs.card import run_card
from pcclora.runs.likeness import FILE as LIKENESS
from pcclora.runs.likeness import learn
from pcclora.runs.prepare import Prepared
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import AdaptationRun, data_name

if TYPE_CHECKING:
    from accelerate import Accelerator

SELECTION = {
    "last": "last epoch",
    "validation": "best epoch on a validation part of the training set",
    "best_on_test": "best epoch chosen on the test set",
}


def measure(
    config: AdaptationRun,
    dataset: LabelledDataset,
    model: nn.Module,
    accelerator: "Accelerator",
    *,
    known: Evaluation | None = None,
) -> tuple[Evaluation, dict[str, float]]:
    """Evaluate by the run's protocol; the name of each number says how it was come by.

    Args:
        config: The run.
        dataset: The samples.
        model: On the accelerator's device.
        accelerator: From :func:`~pcclora.engine.environment.make_accelerator`.
        known: The evaluation of the samples as they are, if it is known already.

    Returns:
        The evaluation of the samples as they are, and the task's figures (0 to 1) of it and of what else the run
        asks for, as votes. A selection on the test set shows in every name, so that none is taken for another.
    """
    chosen = "_best_on_test" if config.selection == "best_on_test" else ""
    task = task_of(config)
    plain = known or task.evaluator(config, dataset, accelerator)(model)
    found = plain.metrics()
    metrics = {f"{name}{chosen}": found[name] for name in task.figures}
    for label, held in task.further_figures(config, dataset, accelerator, model).items():
        metrics |= {f"{name}{chosen}_{label}": held[name] for name in task.figures}
    return plain, metrics


def finish(run: Prepared, folder: RunFolder, state: Checkpoint) -> None:
    """Test a trained model and write down all that is to stay; summary.json is the last.

    Args:
        run: Its model has the selected weights.
        folder: Its folder.
        state: The last state of training.
    """
    config, splits = run.config, run.splits
    evaluation, metrics = measure(config, splits.test, run.model, run.accelerator, known=run.tested)
    held_out = None if splits.watched is splits.test else splits.watched
    if held_out is not None:
        evaluation = at_temperature(evaluation, temperature_on(config, held_out, run.model, run.accelerator))
    likeness = learn(config, splits.train, run.model, run.accelerator)
    if not run.accelerator.is_main_process:
        return
    adapters.save_adapter(run.model, folder.adapter)
    evaluation.write(folder.path, names=splits.test.names, classes=splits.test.class_names)
    orientation.keep(splits.train, folder.path)
    if likeness is not None:
        likeness.write(folder.path / LIKENESS)
    summary = _summary(run, folder, state, metrics) | evaluation.details()
    write_card(folder.adapter, run_card(config, summary, folder.read_versions()["base"].get("fingerprint")))
    write_json(folder.summary, summary)


def _balance(config: AdaptationRun) -> dict[str, str]:
    """Return what makes classes weigh alike in training, if anything does."""
    held = {name: getattr(config.train, name, "") for name in ("sampler", "class_weights")}
    return {name: value for name, value in held.items() if value == "balanced"}


def _trained_in(model: nn.Module, names: Sequence[str]) -> int:
    """Return how many numbers train in these sub-modules, as wide as the adapter makes them."""
    return sum(p.numel() for name in names for p in model.get_submodule(name).parameters() if p.requires_grad)


def _summary(run: Prepared, folder: RunFolder, state: Checkpoint, metrics: dict[str, float]) -> dict[str, Any]:
    config, task, model, splits = run.config, run.task, run.model, run.splits
    parameters, timing = count_parameters(model), read_rows(folder.timing, needed=TIMING)
    device = next(model.parameters()).device
    example = {name: tensor.to(device) for name, tensor in task.example(config).items()}
    macs = count_macs(model, *task.inputs(example))
    seconds = sum(row["train_seconds"] for row in timing)
    return {
        "task": task.title,
        "data": data_name(config.data),
        "model": MODELS.name_of(config.model),
        "checkpoint": config.checkpoint,
        "checkpoint_sha256": folder.read_versions()["base"].get("sha256"),
        "data_sha256": DataRecord.read(folder.path / FILE).sha256 if (folder.path / FILE).exists() else {},
        "adapter": {"name": ADAPTERS.name_of(config.adapter), **to_dict(config.adapter)},
        "metrics": metrics,
        "protocol": {
            **task.protocol(config),
            "selection": SELECTION[config.selection],
            "seed": config.seed,
            "epochs": config.train.epochs,
            **({"stopped_after": state.epoch} if state.epoch < config.train.epochs else {}),
            **_balance(config),
        },
        "selected_epoch": state.best_epoch or state.epoch,
        "samples": {"train": len(splits.train), "test": len(splits.test)},
        "parameters": {
            "total": parameters.total,
            "trained": parameters.trainable,
            "share": parameters.share,
            "head": _trained_in(model, getattr(model, "head_names", ())),
            **({CHANNELS: _trained_in(model, (CHANNELS,))} if config.data.features else {}),
        },
        "gmacs": {"total": macs.total / 1e9, "literature": macs.literature / 1e9},
        "train_seconds": seconds,
        "seconds_per_epoch": seconds / len(timing),
        "peak_memory_mb": max(row["peak_memory_mb"] for row in timing),
        "adapter_bytes": sum((folder.adapter / name).stat().st_size for name in (CONFIG, TENSORS)),
        **task.labels(splits.test).to_summary(),
    }
