"""A run's model in a folder of its own: exported, opened again, compared with eager, and only then there."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pcclora.atomic import creating_folder, refuse_existing, write_json, write_text
from pcclora.errors import PccloraError, did_you_mean
from pcclora.runs.export.card import CARD, EXAMPLE, card_of
from pcclora.runs.export.example import example_of
from pcclora.runs.export.network import absorb_adapter, network_of
from pcclora.runs.export.samples import Samples, samples_of
from pcclora.runs.export.targets import TARGETS, Run
from pcclora.runs.reload import TrainedRun

TOLERANCE = 1e-4
"""Largest difference of a logit from eager, in multiples of the largest logit where that is above 1."""


@dataclass(frozen=True)
class Export:
    """What was made.

    Attributes:
        folder: Where.
        card: What ``model.json`` says.
        megabytes: Of the model.
        runs_on: The package that runs it.
    """

    folder: Path
    card: dict[str, Any]
    megabytes: float
    runs_on: str


def export_run(run: TrainedRun, target: str, folder: Path) -> Export:
    """Export the model of a run: the model, ``model.json`` and ``example.py``, in a new folder.

    Args:
        run: A finished run.
        target: A name of :data:`~pcclora.runs.export.targets.TARGETS`.
        folder: Must not hold anything yet; it appears whole or not at all.

    Raises:
        PccloraError: If the run is not finished, the target is unknown, not installed or lacks an operator, the
            folder is not free, or what was written computes something else.
    """
    if target not in TARGETS:
        raise PccloraError(f"--to {target}: no such target{did_you_mean(target, TARGETS)}")
    form = TARGETS[target]
    form.require()
    refuse_existing(folder)
    model, samples = copy.deepcopy(run.model).cpu(), samples_of(run)  # the run's own stays as it is
    points: int = getattr(run.config, "points", 0)
    beside = network_of(model, run.task, points=points)
    expected = [beside(batch) for batch in samples.batches]
    absorb_adapter(model)
    network = network_of(model, run.task, points=points)
    with creating_folder(folder) as temporary:
        path = temporary / form.file
        form.write(network, samples.batches[0], path)
        largest = _compare(form.open(path), samples, expected, target)
        check = {"largest_difference": largest, "tolerance": TOLERANCE, "samples": samples.source}
        card = card_of(run, network, form, inputs=samples.batches[0], check=check)
        write_json(temporary / CARD, card)
        write_text(temporary / EXAMPLE, example_of(run.task, form))
        size = sum(file.stat().st_size for file in temporary.glob(f"{form.file}*"))
    return Export(folder, card, size / 1e6, form.runs_on)


def _compare(exported: Run, samples: Samples, expected: Sequence[Tensor], target: str) -> float:
    """Return the largest difference of a logit from eager, on batches of other sizes than the traced one too.

    Raises:
        PccloraError: If it is too large, or no number.
    """
    largest = 0.0
    for inputs, eager in zip(samples.batches, expected, strict=True):
        found = exported(inputs)
        difference = (found - eager).abs().max().item() / max(1.0, eager.abs().max().item())
        if not difference <= TOLERANCE:
            sizes = ", ".join(str(tuple(value.shape)) for value in inputs)
            raise PccloraError(
                f"--to {target}: the exported model differs by {difference:.1e} from eager, more than {TOLERANCE:.0e} "
                f"(on {samples.source}, inputs {sizes}); nothing was written; please report it"
            )
        largest = max(largest, difference)
    return largest
