"""Calls in processes of their own, which share the machine's threads; joblib's backends reach a cluster as well."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pcclora.engine import console
from pcclora.engine.environment import single_process
from pcclora.errors import PccloraError
from pcclora.registry import load_plugin

T = TypeVar("T")


def call_at_once(calls: Sequence[Callable[[], T]], *, jobs: int, plugins: Sequence[Path], title: str = "") -> list[T]:
    """Call each, some at the same time.

    Args:
        calls: Without arguments; such as can be pickled.
        jobs: How many at the same time; 1 calls them here, one after another.
        plugins: Files that a process must run first.
        title: Of the progress bar; none without.

    Returns:
        What they return, in their order.

    Raises:
        PccloraError: If one of them raises it, or ``jobs`` cannot be used.
    """
    import torch
    from joblib import Parallel, delayed
    from tqdm import tqdm

    check_jobs(jobs)
    threads = max(torch.get_num_threads() // jobs, 1) if jobs > 1 else None
    numbered = (delayed(_call)(n, call, [str(p) for p in plugins], threads) for n, call in enumerate(calls))
    done = Parallel(n_jobs=jobs, return_as="generator_unordered")(numbered)
    quiet = None if title else True  # None: off where there is no terminal
    found = dict(tqdm(done, desc=title, total=len(calls), unit="run", disable=quiet, dynamic_ncols=True))
    return [found[number] for number in range(len(calls))]


def check_jobs(jobs: int) -> None:
    """Refuse a number of jobs that cannot be.

    Raises:
        PccloraError: Naming it.
    """
    if jobs < 1 or (jobs > 1 and not single_process()):
        raise PccloraError(f"--jobs {jobs}: choose at least 1, and 1 under accelerate launch")


def _call(number: int, call: Callable[[], T], plugins: Sequence[str], threads: int | None) -> tuple[int, T]:
    if threads is not None:  # a process of its own: it knows nothing of the parent's plugins and threads
        import torch

        console.prepare_worker()
        torch.set_num_threads(threads)
        for plugin in plugins:
            load_plugin(plugin)
    return number, call()
