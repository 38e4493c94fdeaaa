"""The temperature of a run: fitted to validation data, kept in its summary, used wherever it says how sure it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from torch import nn

from pcclora.atomic import write_json
from pcclora.data import LabelledDataset
from pcclora.engine.data_record import FILE, DataRecord, objects_of
from pcclora.engine.devices import Processes
from pcclora.engine.environment import make_accelerator
from pcclora.engine.evaluator import Evaluation
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.metrics.calibration import fit_temperature
from pcclora.runs.reload import TrainedRun
from pcclora.runs.splits import open_side
from pcclora.tasks.classification import ClassEvaluation, Temperature
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import AdaptationRun

Draw = Callable[[RunFolder, Mapping[str, Any]], None]


def temperature_on(
    config: AdaptationRun, dataset: LabelledDataset, model: nn.Module, processes: Processes
) -> Temperature | None:
    """Fit the temperature of a model to samples that it was not trained on; None where its task is not about classes.

    Args:
        config: The run.
        dataset: The samples.
        model: On the device of the processes.
        processes: Who computes; each gets the same.
    """
    found = task_of(config).evaluator(config, dataset, processes)(model)
    if not isinstance(found, ClassEvaluation):
        return None
    return Temperature(fit_temperature(found.logits, found.labels), len(dataset), dataset.split)


def at_temperature(evaluation: Evaluation, temperature: Temperature | None) -> Evaluation:
    """Return an evaluation whose probabilities are those of a temperature; of parts, or without one, as it is."""
    if temperature is None or not isinstance(evaluation, ClassEvaluation):
        return evaluation
    return replace(evaluation, temperature=temperature)


def calibrate(
    run: TrainedRun, *, split: str = "validation", overrides: Sequence[str] = (), draw: Draw | None = None
) -> dict[str, Any]:
    """Fit the temperature of a finished run, and keep it, with the confidences that it gives, in the run's folder.

    Args:
        run: It.
        split: The samples: the run's own validation part, or a split of its data set that it has not seen.
        overrides: ``key=value``, as where the data lie now.
        draw: Adds the pictures of a folder and its summary.

    Returns:
        The new summary.

    Raises:
        PccloraError: If the run does not answer with classes, is a pack, or the split is none to calibrate on; nothing
            is changed then.
    """
    config = run.with_overrides(overrides)
    dataset = _unseen(run, config, split)
    test = open_side(config, run.folder.path)
    accelerator = make_accelerator(config.train)
    model = run.to(accelerator.device).model
    temperature = temperature_on(config, dataset, model, accelerator)
    tested = cast("ClassEvaluation", task_of(config).evaluator(config, test, accelerator)(model))
    found = at_temperature(tested, temperature)
    summary = run.summary | found.details()
    if accelerator.is_main_process:
        found.write(run.folder.path, names=test.names, classes=test.class_names)
        write_json(run.folder.summary, summary)
        if draw:
            draw(run.folder, summary)
    return summary


def _unseen(run: TrainedRun, config: AdaptationRun, split: str) -> LabelledDataset:
    """Open the samples of a split, unless the run has been trained or tested on some."""
    remedy = "train it with selection=validation, or name a split of its data that it has not seen, as --split val"
    if config.task == "partseg" or run.is_pack:
        what = "a pack is not changed" if run.is_pack else "its task is 'partseg'"
        raise PccloraError(f"{run.path}: cannot be calibrated: {what}; a folder of a run that answers with classes can")
    record = DataRecord.read(run.folder.path / FILE) if (run.folder.path / FILE).exists() else None
    sides = {} if record is None else record.sides
    if split == "validation" and split not in sides:
        raise PccloraError(f"{run.path}: has no validation data to calibrate on; {remedy}")
    if split in ("train", "test"):
        raise PccloraError(
            f"{run.path}: is not calibrated on split '{split}', by which it is trained or judged; {remedy}"
        )
    dataset = open_side(config, run.folder.path, split)
    if split != "validation":
        seen = {held.digest for side in sides.values() for held in side}
        if shared := [held.name for held in objects_of(dataset) if held.digest in seen]:
            raise PccloraError(
                f"{run.path}: {len(shared)} of {len(dataset)} objects of split '{split}' are among those that it was "
                f"trained or tested on, as {shared[0]}; {remedy}"
            )
    return dataset
