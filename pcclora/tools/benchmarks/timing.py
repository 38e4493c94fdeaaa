"""Fair timing on a noisy machine: round-robin, medians and minima; process CPU time, or wall time of a GPU's work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter, process_time

import torch
from tqdm import tqdm

Clock = Callable[[], float]
SHORTEST = 0.005  # seconds of one sample: faster calls are repeated within it
BAR = {"delay": 2, "leave": False, "disable": None, "dynamic_ncols": True}  # of a progress bar; none without a terminal


@dataclass(frozen=True)
class Row:
    """One method on one case.

    Attributes:
        case: What was computed.
        method: By what.
        samples: Seconds of one call, a number a round.
        reference: The method of the same case that this one's speed is given in multiples of; none where empty.
        peak_mb: Megabytes that a call adds to the process at its peak, where that was measured.
        notes: Heading -> what else is said of the method.
    """

    case: str
    method: str
    samples: tuple[float, ...]
    reference: str = ""
    peak_mb: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The median sample, in seconds."""
        return median(self.samples)

    @property
    def minimum(self) -> float:
        """The fastest sample, in seconds."""
        return min(self.samples)

    def over(self, other: "Row") -> float:
        """Return how long it takes, in multiples of another row of the same race: the median over the rounds."""
        return median(own / theirs for own, theirs in zip(self.samples, other.samples, strict=True))


def clock_of(device: str) -> Clock:
    """Return what tells the seconds of work: process CPU time, or wall time when a CUDA device has done all of its."""

    def when_done() -> float:
        torch.cuda.synchronize()
        return perf_counter()

    return when_done if device == "cuda" else process_time


def race(
    case: str, calls: Mapping[str, Callable[[], object]], *, rounds: int, reference: str, clock: Clock = process_time
) -> list[Row]:
    """Time every call once a round, so that a slow moment of the machine meets all of them.

    Args:
        case: What is computed.
        calls: By method.
        rounds: How many samples of each.
        reference: Which of ``calls`` the others are compared with.
        clock: Tells the seconds.
    """
    repeats = {method: _repeats(call, clock) for method, call in calls.items()}
    samples: dict[str, list[float]] = {method: [] for method in calls}
    order = [method for i in range(rounds) for method in list(calls)[:: 1 if i % 2 else -1]]
    for method in tqdm(order, desc=case, unit="call", **BAR):  # to and fro: who comes before matters as well
        samples[method].append(sample(calls[method], repeats[method], clock))
    return [Row(case, method, tuple(taken), reference) for method, taken in samples.items()]


def sample(call: Callable[[], object], repeats: int, clock: Clock = process_time) -> float:
    """Return the seconds of one call, from ``repeats`` of them."""
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def _repeats(call: Callable[[], object], clock: Clock) -> int:
    if sample(call, 1, clock) > 20 * SHORTEST:  # first use: memory, caches; of long calls the second is as the others
        return 1
    return max(1, round(SHORTEST / max(1e-6, sample(call, 1, clock))))
