"""How fast made-up clouds of 1,024 points come: one process by its processor time, a loader by the clock on the wall.

Every round makes other objects, since a program takes from one to ten milliseconds; so many that their mean is steady.
"""

from collections.abc import Callable
from itertools import count
from statistics import median
from time import perf_counter, process_time

from tqdm import tqdm

from pcclora.data import (
    PointCloudDataset,
    ProceduralConfig,
    ProceduralDataset,
    ProgramsConfig,
    ProgramsDataset,
    Subset,
    make_loader,
    set_epoch,
)
from pcclora.tools.benchmarks.timing import BAR, Clock, Row, sample

POINTS, CLOUDS, BATCH = 1024, 320, 32
WORKERS = (1, 2)


def measure(rounds: int) -> list[Row]:
    """Time both generators in this process, and the programs with workers.

    Args:
        rounds: How often.
    """
    programs = ProgramsDataset(ProgramsConfig(points=POINTS), split="train")
    procedural = ProceduralDataset(ProceduralConfig(points=POINTS, train=len(programs), cache=False), split="train")
    calls: dict[str, tuple[Callable[[], object], Clock]] = {
        "procedural": (_maker(procedural), process_time),
        "procedural_programs": (_maker(programs), process_time),
    }
    calls |= {f"a loader, workers={workers}": (_loading(programs, workers), perf_counter) for workers in WORKERS}
    taken: dict[str, list[float]] = {method: [] for method in calls}
    for call, _ in calls.values():  # caches, and workers that start
        call()
    for method in tqdm([method for _ in range(rounds) for method in calls], desc="programs", unit="call", **BAR):
        call, clock = calls[method]
        taken[method].append(sample(call, 1, clock) / CLOUDS)
    case = f"a cloud of {POINTS} points, mean of {CLOUDS}"
    return [
        Row(case, method, tuple(times), notes={"clouds/s": f"{1 / median(times):.0f}"})
        for method, times in taken.items()
    ]


def _maker(dataset: PointCloudDataset) -> Callable[[], object]:
    place = count()
    return lambda: [dataset[next(place) % len(dataset)] for _ in range(CLOUDS)]


def _loading(dataset: PointCloudDataset, workers: int) -> Callable[[], object]:
    loader = make_loader(
        Subset(dataset, range(CLOUDS)), points=POINTS, batch_size=BATCH, train=True, workers=workers, drop_last=True
    )
    epoch = count()

    def load() -> None:
        set_epoch(loader, next(epoch))
        for _ in loader:
            pass

    return load
