"""Fair timing on a noisy machine: round-robin, process CPU time, medians and minima."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import process_time

SHORTEST = 0.005  # seconds of one sample: faster calls are repeated within it


@dataclass(frozen=True)
class Row:
    """One method on one case.

    Attributes:
        case: What was computed.
        method: By what.
        samples: Seconds of process CPU time of one call, a number a round.
        reference: The method of the same case that this one's speed is given in multiples of; none where empty.
        peak_mb: Megabytes that a call adds to the process at its peak, where that was measured.
    """

    case: str
    method: str
    samples: tuple[float, ...]
    reference: str = ""
    peak_mb: float | None = None

    @property
    def median(self) -> float:
        """The median sample, in seconds."""
        return median(self.samples)

    @property
    def minimum(self) -> float:
        """The fastest sample, in seconds."""
        return min(self.samples)


def race(case: str, calls: Mapping[str, Callable[[], object]], *, rounds: int, reference: str) -> list[Row]:
    """Time every call once a round, so that a slow moment of the machine meets all of them.

    Args:
        case: What is computed.
        calls: By method.
        rounds: How many samples of each.
        reference: Which of ``calls`` the others are compared with.
    """
    repeats = {method: _repeats(call) for method, call in calls.items()}
    samples: dict[str, list[float]] = {method: [] for method in calls}
    for _ in range(rounds):
        for method, call in calls.items():
            samples[method].append(sample(call, repeats[method]))
    return [Row(case, method, tuple(taken), reference) for method, taken in samples.items()]


def sample(call: Callable[[], object], repeats: int) -> float:
    """Return the CPU seconds of one call, from ``repeats`` of them."""
    start = process_time()
    for _ in range(repeats):
        call()
    return (process_time() - start) / repeats


def _repeats(call: Callable[[], object]) -> int:
    call()  # first use: memory, caches
    return max(1, round(SHORTEST / max(1e-6, sample(call, 1))))
