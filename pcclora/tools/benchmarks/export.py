"""Exported models beside eager: a class of clouds, parts of clouds, a class of images, on one thread of the CPU.

The models have random weights, which cost the same. Eager is the merged model in torch, with the native kernel; onnx is
ONNX Runtime; pt2 is torch's exported program, called in Python. Peak memory is what one call adds to a process that
holds the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import pcclora
from pcclora.runs.export.network import Network, network_of
from pcclora.runs.export.targets import TARGETS
from pcclora.tools.benchmarks.resources import peak_mb
from pcclora.tools.benchmarks.timing import Row, race

BATCHES = (1, 8)
CLASSES = {"num_classes": 40}
MODELS: dict[str, tuple[str, dict[str, Any], int]] = {
    "point_mae_tiny": ("cls", CLASSES, 1024),
    "point_mae": ("cls", CLASSES, 1024),
    "point_mae parts": ("partseg", {}, 2048),
    "vit_mini": ("image", CLASSES, 32),
}
"""Case -> task, settings, and points of a cloud or side of an image."""


def measure(rounds: int) -> list[Row]:
    """Time inference on one sample and on a batch.

    Args:
        rounds: How often.

    Raises:
        PccloraError: If a target's packages are not installed.
    """
    rows: list[Row] = []
    for target in TARGETS.values():
        target.require()
    with TemporaryDirectory() as folder:
        for case in MODELS:
            files = {name: str(Path(folder) / f"{len(rows)}.{name}") for name in TARGETS}
            network = network_for(case)
            for name, file in files.items():
                TARGETS[name].write(network, inputs_for(case, 2), Path(file))
            for B in BATCHES:
                rows += _race(case, B, files, rounds)
    return rows


def network_for(case: str) -> Network:
    """Return the network of a case, its weights drawn at random."""
    task, options, size = MODELS[case]
    torch.manual_seed(0)
    head = "partseg" if task == "partseg" else "cls"
    model = pcclora.create_model(case.split()[0], task=head, **options).eval()
    return network_of(model, task, points=size if task != "image" else 0)


def inputs_for(case: str, B: int) -> tuple[Tensor, ...]:
    """Return a batch of a case."""
    task, _, size = MODELS[case]
    draw = torch.Generator().manual_seed(0)
    if task == "image":
        return (torch.randn(B, 3, size, size, generator=draw),)
    points = F.normalize(torch.randn(B, size, 3, generator=draw), dim=2)
    return (points,) if task == "cls" else (points, torch.zeros(B, dtype=torch.int64), points)


def prepare(case: str, method: str, file: str, B: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a call on one sample, which loads code, and one on B samples."""
    run = _opened(case, method, file)
    return partial(run, inputs_for(case, 1)), partial(run, inputs_for(case, B))


def _race(case: str, B: int, files: Mapping[str, str], rounds: int) -> list[Row]:
    methods = {"eager": "", **files}
    runs = {method: _opened(case, method, file) for method, file in methods.items()}
    inputs = inputs_for(case, B)
    expected = runs["eager"](inputs)
    for run in runs.values():
        torch.testing.assert_close(run(inputs), expected, rtol=1e-4, atol=1e-4)
    calls = {method: partial(run, inputs) for method, run in runs.items()}
    rows = race(f"{case} x {B}", calls, rounds=rounds, reference="eager")
    return [replace(row, peak_mb=peak_mb(prepare, case, row.method, methods[row.method], B)) for row in rows]


def _opened(case: str, method: str, file: str) -> Callable[[Sequence[Tensor]], Tensor]:
    return network_for(case) if method == "eager" else TARGETS[method].open(Path(file))
