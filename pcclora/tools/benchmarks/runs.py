"""Finished runs in use: what twenty adapters of one Point-MAE hold in memory, and what a prediction takes.

The base has random weights and the run two steps of training, which changes neither memory nor time; the other runs are
copies of it whose adapters have other numbers. Every row is measured in a process of its own.
"""

import shutil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, NamedTuple

import torch

import pcclora
from pcclora.adapters.files.folder import TENSORS
from pcclora.config import from_dict
from pcclora.errors import PccloraError
from pcclora.runs.adapt import train
from pcclora.tasks.settings import ClassificationRun
from pcclora.tensor_file import read_tensors, write_tensors
from pcclora.tools.benchmarks.resources import RESET, alone, held_mb
from pcclora.tools.benchmarks.timing import Row

MODEL: dict[str, Any] = {"name": "point_mae"}
POINTS, RUNS = 1024, 20


def measure(rounds: int) -> list[Row]:
    """Load one run, many that share what they can, and many that do not; then predict.

    Args:
        rounds: How often.

    Raises:
        PccloraError: If the memory of a process cannot be asked for here.
    """
    if not RESET.exists():
        raise PccloraError("what a process holds is known on Linux only")
    with TemporaryDirectory() as place:
        paths = make_runs(Path(place))
        files = sum(file.stat().st_size for path in paths for file in (path / "adapter").iterdir()) / 2**20
        found = {
            "one": [alone(load, paths[:1], True) for _ in range(rounds)],
            f"{RUNS} together": [alone(load, paths, True) for _ in range(rounds)],
            f"{RUNS} apart": [alone(load, paths, False) for _ in range(rounds)],
        }
    loaded = [
        Row(
            f"load, adapters {files:.0f} MB",
            name,
            tuple(own.load for own in taken),
            notes={"held MB": f"{median(own.held for own in taken):.0f}"},
        )
        for name, taken in found.items()
    ]
    first, later = (tuple(getattr(own, name) for own in found["one"]) for name in ("first", "later"))
    return [*loaded, Row("predict a cloud", "first", first), Row("predict a cloud", "later", later, "first")]


def make_runs(place: Path) -> list[Path]:
    """Train one run on a base, and return it with copies that have other adapters."""
    torch.manual_seed(0)
    base = place / "base.pth"
    torch.save(pcclora.create_model(num_classes=2, **MODEL).state_dict(), base)
    words = {"model": MODEL, "checkpoint": str(base), "points": POINTS, "train": {"epochs": 1, "batch_size": 8}}
    words |= {"data": {"name": "procedural", "train": 16, "test": 8}}
    first = train(from_dict(ClassificationRun, words, source="benchmark"), place / "run_0").path
    return [first, *(_copied(first, place / f"run_{number}") for number in range(1, RUNS))]


class Taken(NamedTuple):
    """Seconds of loading, of a first and of a later prediction, and the megabytes that are held then."""

    load: float
    first: float
    later: float
    held: float


def load(paths: list[Path], together: bool) -> Taken:
    """Load runs, ask the first of them for a prediction, then each."""
    points = torch.rand(2 * POINTS, 3)
    before, start = held_mb(), process_time()
    runs = list(pcclora.load_runs(paths).values()) if together else [pcclora.load_run(path) for path in paths]
    loaded = process_time()
    runs[0].predict(points)
    first = process_time()
    for run in runs:
        run.predict(points)
    return Taken(loaded - start, first - loaded, (process_time() - first) / len(runs), held_mb() - before)


def _copied(run: Path, target: Path) -> Path:
    shutil.copytree(run, target)
    tensors, header = read_tensors(target / "adapter" / TENSORS, remedy="")
    other = {name: own * 1.1 if own.is_floating_point() else own for name, own in tensors.items()}
    write_tensors(target / "adapter" / TENSORS, other, header)
    return target
