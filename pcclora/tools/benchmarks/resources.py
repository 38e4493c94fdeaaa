"""What a call takes besides time: memory at its peak, and the least time that its arithmetic needs here."""

import ctypes
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pcclora.tools.benchmarks.timing import clock_of, sample

T = TypeVar("T")
Prepare = Callable[..., tuple[Callable[[], object], Callable[[], object]]]
MMAP_THRESHOLD = -3  # glibc's name of the size from which memory goes back to the system when it is freed
RESET = Path("/proc/self/clear_refs")
M, N, K = 2048, 1024, 1536  # of the matrix product whose rate is the bound: as large as a transformer's


def peak_mb(prepare: Prepare, *arguments: object) -> float | None:
    """Return the megabytes that a call adds at its peak, measured in a process of its own; the CPU's on Linux only.

    Args:
        prepare: Returns two calls: what loads code without being counted, and what is measured. A module's function.
        arguments: Its arguments; "cuda" among them asks for the GPU's memory.
    """
    if "cuda" not in arguments and not RESET.exists():
        return None
    return alone(measure_peak, prepare, *arguments)


def alone(function: Callable[..., T], *arguments: object) -> T:
    """Return what a function of a module gives in a process of its own, where memory goes back once it is free."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # a Pool would terminate its process
        return pool.submit(_alone, function, *arguments).result()


def held_mb() -> float:
    """Return the megabytes that this process holds now, without the code and the files that it has mapped; on Linux."""
    return _status("RssAnon") / 2**10


def measure_peak(prepare: Prepare, *arguments: object) -> float:
    """Return the megabytes that a call adds at its peak to this process."""
    warm_up, call = prepare(*arguments)
    warm_up()
    if "cuda" in arguments:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    RESET.write_text("5")  # starts the highest mark again from what is held now
    before = _highest()
    call()
    return (_highest() - before) / 2**10


def count_call_macs(call: Callable[[], object]) -> int:
    """Return the multiply-accumulates of a call, backward passes and the products inside attention included."""
    flops = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), flops:
        call()
    return flops.get_total_flops() // 2


def bound(macs: int, device: str = "cpu") -> float:
    """Return the least seconds that multiply-accumulates can take here, at the rate of a matrix product."""
    x, weight = torch.rand(M, K, device=device), torch.rand(N, K, device=device)
    clock = clock_of(device)
    product = min(sample(lambda: F.linear(x, weight), 4, clock) for _ in range(5))
    return macs * product / (M * N * K)


def _alone(function: Callable[..., T], *arguments: object) -> T:
    torch.set_num_threads(1)
    if RESET.exists() and hasattr(ctypes.CDLL(None), "mallopt"):  # else the heap's holes would count, a matter of luck
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 2**16)
    return function(*arguments)


def _highest() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])
