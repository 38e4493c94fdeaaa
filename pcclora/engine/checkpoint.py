"""A training checkpoint: one safetensors file, replaced in one step, so that there is always a valid one.

The file holds tensors under ``weights.``, ``optimizer.``, ``rng.<process>.`` and ``best.``; its header holds the
counters as JSON. The learning rate is a function of the epoch alone and needs no state. No pickle.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pcclora.atomic import replacing
from pcclora.errors import PccloraError

Tensors = dict[str, Tensor]


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
    from safetensors.torch import save_file

    parts = {"weights": checkpoint.weights, "optimizer": checkpoint.optimizer, "best": checkpoint.best}
    parts |= {f"rng.{process}": states for process, states in enumerate(checkpoint.rng)}
    # a copy of each: safetensors refuses tensors that share memory
    tensors = {
        f"{part}.{k}": v.detach().cpu().contiguous().clone() for part, held in parts.items() for k, v in held.items()
    }
    counters: dict[str, float | None] = {"epoch": checkpoint.epoch, "processes": len(checkpoint.rng)}
    counters |= {"best_epoch": checkpoint.best_epoch, "best_value": checkpoint.best_value}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"pcclora_checkpoint": json.dumps(counters)})


def load(path: Path) -> Checkpoint:
    """Read a checkpoint that :func:`save` wrote.

    Raises:
        PccloraError: If the file is absent, damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            counters: dict[str, Any] = json.loads((file.metadata() or {})["pcclora_checkpoint"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise PccloraError(f"{path}: not a training checkpoint, or damaged: {error}") from error
    return Checkpoint(
        epoch=counters["epoch"],
        weights=_part(tensors, "weights."),
        optimizer=_part(tensors, "optimizer."),
        rng=[_part(tensors, f"rng.{process}.") for process in range(counters["processes"])],
        best_epoch=counters["best_epoch"],
        best_value=counters["best_value"],
        best=_part(tensors, "best."),
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> Tensors:
    """Return an optimiser's state by parameter name, ``<parameter>/<slot>``."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {f"{names[id(p)]}/{slot}": v for p, slots in optimizer.state.items() for slot, v in slots.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Tensors) -> None:
    """Put back what :func:`optimizer_tensors` returned.

    Raises:
        PccloraError: If a tensor belongs to no trained parameter of the model, or is of another shape.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for key, value in tensors.items():
        name, _, slot = key.rpartition("/")
        parameter = trained.get(name)
        if parameter is None or (value.ndim and value.shape != parameter.shape):
            raise PccloraError(f"checkpoint: optimiser state '{key}' does not fit the model; was its code changed?")
        on_host = slot == "step"  # torch.optim keeps the counter on the CPU
        optimizer.state[parameter][slot] = value if on_host else value.to(parameter.device)


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
