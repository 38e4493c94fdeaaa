"""What `train.checkpointing` and `train.compile` do to a training step of the full-size Point-MAE: its time and memory.

The compiler's own work, before the first step, is not in its time; memory is measured where nothing is compiled.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

import pcclora
from pcclora.adapters.recompute import recompute_blocks
from pcclora.engine import console
from pcclora.tools.benchmarks.methods import SIZES, bare, batch
from pcclora.tools.benchmarks.resources import peak_mb
from pcclora.tools.benchmarks.steps import loss_of, training_step
from pcclora.tools.benchmarks.timing import Row, race

SIZE = next(iter(SIZES))
METHODS = ("clora", "lora", "full")
PLAIN, RECOMPUTED, COMPILED = "", ", checkpointing", ", compiled"


def measure(rounds: int) -> list[Row]:
    """Time the steps of each method.

    Args:
        rounds: How often.
    """
    rows: list[Row] = []
    for method in METHODS:
        calls = {f"{method}{way}": _step(method, way, batch(SIZE)) for way in (PLAIN, RECOMPUTED, COMPILED)}
        try:
            calls[f"{method}{COMPILED}"]()
        except Exception as error:  # of torch's many parts, each with a family of its own
            del calls[f"{method}{COMPILED}"]
            console.write(f"{method} is not compiled: {' '.join(str(error).split())[:200]}\n")
        for row in race(f"train {method} on {SIZE}", calls, rounds=rounds, reference=method):
            way = row.method.removeprefix(method)
            rows.append(row if way == COMPILED else replace(row, peak_mb=peak_mb(prepare, method, way)))
    return rows


def prepare(method: str, way: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what loads a method's code, a backward pass of two inputs without a trace, and its first whole step."""
    model = _model(method, way)

    def warm_up() -> None:
        loss_of(model, batch(SIZE, 2)).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()

    return warm_up, training_step(model, batch(SIZE))


def _step(method: str, way: str, x: torch.Tensor) -> Callable[[], None]:
    model = _model(method, way)
    return training_step(torch.compile(model) if way == COMPILED else model, x)  # type: ignore[arg-type]


def _model(method: str, way: str) -> nn.Module:
    model: nn.Module = bare(SIZE)
    pcclora.attach(model, pcclora.adapter_config(method))
    if way == RECOMPUTED:
        recompute_blocks(model)
    return model
