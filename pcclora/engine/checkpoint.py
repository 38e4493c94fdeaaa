"""A training checkpoint: one safetensors file, replaced in one step, so that there is always a valid one.

The file holds tensors under ``weights.``, ``optimizer.``, ``rng.<process>.`` and ``best.``; its header holds the
counters as JSON, and a sha256 over all of it. The learning rate is a function of the epoch alone and needs no state. No
pickle.
"""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from pcclora.atomic import parse_json
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.tensor_file import SHA256, read_tensors, write_tensors

Tensors = dict[str, Tensor]

_COUNTERS = "pcclora_checkpoint"
_FORM = {"epoch": int, "processes": int, "best_epoch": (int, None), "best_value": (float, None)}
_SLOTS = {"step", "exp_avg", "exp_avg_sq"}  # of AdamW
_REMEDY = "copy the run folder again, or begin the run again in another"


@dataclass
class Checkpoint:
    """The state of a run between two epochs.

    Attributes:
        epoch: Epochs done.
        weights: What is trained, and the buffers that change with it, by name.
        optimizer: AdamW's moments and counters: ``<parameter>/<slot>``.
        rng: The random generators, one entry a process.
        best_epoch: Epoch that the selection prefers so far, or None.
        best_value: Its score.
        best: Its weights.
    """

    epoch: int
    weights: Tensors
    optimizer: Tensors
    rng: list[Tensors]
    best_epoch: int | None = None
    best_value: float | None = None
    best: Tensors = field(default_factory=dict)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write or replace a checkpoint atomically."""
    parts = {"weights": checkpoint.weights, "optimizer": checkpoint.optimizer, "best": checkpoint.best}
    parts |= {f"rng.{process}": states for process, states in enumerate(checkpoint.rng)}
    tensors = {f"{part}.{name}": tensor for part, held in parts.items() for name, tensor in held.items()}
    counters: dict[str, float | None] = {"epoch": checkpoint.epoch, "processes": len(checkpoint.rng)}
    counters |= {"best_epoch": checkpoint.best_epoch, "best_value": checkpoint.best_value}
    write_tensors(path, tensors, {_COUNTERS: json.dumps(counters)})


def load(path: Path) -> Checkpoint:
    """Read a checkpoint that :func:`save` wrote.

    Raises:
        PccloraError: If the file is absent, damaged or something else.
    """
    tensors, header = read_tensors(path, remedy=_REMEDY)
    if SHA256 not in header and header.keys() == {_COUNTERS}:
        warnings.warn(f"{path} has no checksum, an earlier version wrote it: damage would not be noticed", stacklevel=2)
    elif SHA256 not in header or _COUNTERS not in header:
        raise PccloraError(f"{path}: not a training checkpoint, or its header is damaged; {_REMEDY}")
    counters = parse_json(header[_COUNTERS], path)
    check_form(counters, _FORM, path, remedy=_REMEDY)
    processes = len({name.split(".")[1] for name in tensors if name.startswith("rng.")})
    checkpoint = Checkpoint(
        epoch=counters["epoch"],
        weights=_part(tensors, "weights."),
        optimizer=_part(tensors, "optimizer."),
        rng=[_part(tensors, f"rng.{process}.") for process in range(processes)],
        best_epoch=counters["best_epoch"],
        best_value=counters["best_value"],
        best=_part(tensors, "best."),
    )
    if processes != counters["processes"] or not all(checkpoint.rng):
        raise PccloraError(
            f"{path}: its random generators are not those of {counters['processes']} processes; {_REMEDY}"
        )
    _check_whole(checkpoint, path)
    return checkpoint


def check_run(checkpoint: Checkpoint, path: Path, *, epochs: int, processes: int) -> None:
    """Refuse a checkpoint that a run cannot go on from.

    Args:
        checkpoint: From :func:`load`.
        path: Its file, for the message.
        epochs: Of the whole run.
        processes: That train it now.

    Raises:
        PccloraError: Naming what differs.
    """
    if checkpoint.epoch > epochs:
        raise PccloraError(f"{path}: says that {checkpoint.epoch} epochs are done, the run has {epochs}; {_REMEDY}")
    if len(checkpoint.rng) != processes:
        raise PccloraError(
            f"{path}: written by {len(checkpoint.rng)} processes, not {processes}; resume the run on as many"
        )


def _check_whole(checkpoint: Checkpoint, path: Path) -> None:
    """Refuse a checkpoint that lacks what an epoch leaves: training would go on, and end elsewhere."""
    best = (checkpoint.best_epoch is not None, checkpoint.best_value is not None, bool(checkpoint.best))
    lacking = {
        "optimiser state": checkpoint.epoch > 0 and not checkpoint.optimizer,
        "epochs": checkpoint.epoch < 0,
        "weights": not checkpoint.weights,
        "best epoch": len(set(best)) > 1 or not 0 < (checkpoint.best_epoch or 1) <= max(checkpoint.epoch, 1),
    }
    if missing := [name for name, lacks in lacking.items() if lacks]:
        raise PccloraError(f"{path}: missing or damaged: {', '.join(missing)}; {_REMEDY}")


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> Tensors:
    """Return an optimiser's state by parameter name, ``<parameter>/<slot>``."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {f"{names[id(p)]}/{slot}": v for p, slots in optimizer.state.items() for slot, v in slots.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Tensors) -> None:
    """Put back what :func:`optimizer_tensors` returned.

    Raises:
        PccloraError: If a tensor belongs to no trained parameter, is of another shape, or is missing.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found: dict[str, set[str]] = {}
    for key, value in tensors.items():
        name, _, slot = key.rpartition("/")
        parameter = trained.get(name)
        counts = slot == "step"
        if parameter is None or slot not in _SLOTS or value.shape != (() if counts else parameter.shape):
            raise PccloraError(f"checkpoint: optimiser state '{key}' does not fit the model; was its code changed?")
        found.setdefault(name, set()).add(slot)
        # torch.optim keeps the counter on the CPU
        optimizer.state[parameter][slot] = value if counts else value.to(parameter.device)
    for name, slots in found.items():
        if slots != _SLOTS:
            raise PccloraError(f"checkpoint: optimiser state of '{name}' lacks {', '.join(_SLOTS - slots)}; {_REMEDY}")


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
