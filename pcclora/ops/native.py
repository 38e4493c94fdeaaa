"""The C++ kernel of geometry.cpp, through ctypes; it must agree bit for bit with the torch code of fps.py and knn.py.

The shared library lies beside this file where the package was built with a compiler. ctypes releases the GIL.
"""

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from pcclora.ops.checks import check_finite

LIBRARY = Path(__file__).with_name("_geometry.dll" if sys.platform == "win32" else "_geometry.so")
VERSION = 1  # of the functions' signatures: an editable install may keep a library built from older source
WIDTHS = ("plain", "avx2", "avx512")
SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_PROCESS = os.getpid()


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    rebuild = "install a C++ compiler and the package again"
    if not LIBRARY.is_file():
        return None, f"the package was built without a C++ compiler; {rebuild} for the native kernel"
    try:
        library = ctypes.CDLL(str(LIBRARY))
        if library.pcclora_geometry_version() != VERSION:
            return None, f"{LIBRARY.name} was built from other source; {rebuild}"
    except (OSError, AttributeError) as error:
        return None, f"{LIBRARY.name} does not load ({error}); {rebuild}"
    pointer, size, integer = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    for suffix in SUFFIX.values():
        getattr(library, f"pcclora_fps_{suffix}").argtypes = [pointer, *[size] * 4, *[integer] * 3, pointer]
        getattr(library, f"pcclora_knn_{suffix}").argtypes = [
            pointer,
            pointer,
            *[size] * 4,
            *[integer] * 2,
            pointer,
            pointer,
        ]
    return library, f"C++ kernel, {WIDTHS[library.pcclora_geometry_widest()]} vectors"


def available() -> bool:
    """Return whether the kernel is there and loads."""
    return _load()[0] is not None


def status() -> str:
    """Return what the kernel is, or why there is none."""
    return _load()[1]


def widths() -> tuple[str, ...]:
    """Return the vector widths that this machine has, the narrowest first."""
    library = _load()[0]
    return WIDTHS[: library.pcclora_geometry_widest() + 1] if library is not None else ()


def threads() -> int:
    """Return how many threads a call uses: torch's number; one in a DataLoader worker or any forked process."""
    alone = get_worker_info() is not None or os.getpid() != _PROCESS
    return 1 if alone else torch.get_num_threads()


def sample_farthest_points(
    points: Tensor, *, K: int, start: int = 0, skip_near_origin: bool = False, width: str = WIDTHS[-1]
) -> Tensor:
    """Return the indices (B, K) int64 of :func:`pcclora.ops.sample_farthest_points` of points (B, N, 3) on a CPU.

    Args:
        points: The clouds, checked.
        K: How many, checked.
        start: The first, checked.
        skip_near_origin: As there.
        width: The widest vectors to use; for tests.
    """
    points = points.contiguous()
    B, N, _ = points.shape
    idx = torch.empty((B, K), dtype=torch.int64)
    function = f"pcclora_fps_{SUFFIX[points.dtype]}"
    sizes = (B, N, K, start, skip_near_origin, threads(), WIDTHS.index(width))
    _call(function, points.data_ptr(), *sizes, idx.data_ptr(), names="points")
    return idx


def knn_points(query: Tensor, points: Tensor, *, K: int, width: str = WIDTHS[-1]) -> tuple[Tensor, Tensor]:
    """Return dists and idx (B, G, K) of :func:`pcclora.ops.knn_points` of query (B, G, 3), points (B, N, 3) on a CPU.

    Args:
        query: The queries, checked.
        points: The clouds, checked.
        K: How many neighbours, checked.
        width: The widest vectors to use; for tests.
    """
    query, points = query.contiguous(), points.contiguous()
    (B, G, _), N = query.shape, points.shape[1]
    dists, idx = query.new_empty((B, G, K)), torch.empty((B, G, K), dtype=torch.int64)
    function = f"pcclora_knn_{SUFFIX[points.dtype]}"
    sizes = (B, G, N, K, threads(), WIDTHS.index(width))
    _call(
        function, query.data_ptr(), points.data_ptr(), *sizes, dists.data_ptr(), idx.data_ptr(), names="query or points"
    )
    return dists, idx


def _call(function: str, *arguments: int, names: str) -> None:
    result = getattr(_load()[0], function)(*arguments)
    if result == 2:
        raise MemoryError(f"{function}: no memory for its working rows")
    check_finite(result == 0, names)
