"""Farthest point sampling and nearest neighbours: our two implementations, the peers at hand, and the bound.

The bound: at least ten vector operations a distance (3 subtractions, 3 multiplications, 2 additions, a minimum, and a
maximum or a comparison) at the rate that a matrix product reaches here, and 16 bytes read (x, y, z and a row) at the
rate that a dot product reaches on as large a working set. The slower of the two counts.
"""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pcclora.ops import knn_points, native, sample_farthest_points
from pcclora.tools.benchmarks.timing import Row, race, sample

B, K = 32, 32
SIZES = ((1024, 64), (2048, 128), (8192, 512))  # (N, G)
OPERATIONS, BYTES = 10, 16  # of one distance


def measure(rounds: int) -> list[Row]:
    """Time both ops at every size.

    Args:
        rounds: How often.
    """
    rows: list[Row] = []
    for N, G in SIZES:
        points = torch.nn.functional.normalize(torch.randn(B, N, 3, generator=torch.Generator().manual_seed(0)), dim=2)
        centres, _ = sample_farthest_points(points, K=G)
        for op, calls in (("fps", fps_calls(points, G)), ("knn", knn_calls(centres, points))):
            reference = "pytorch3d" if "pytorch3d" in calls else "torch"
            rows += race(f"{op} {N}/{G}", calls, rounds=rounds, reference=reference)
            rows.append(Row(f"{op} {N}/{G}", "bound", (bound(N, B * N * G),), reference))
    return rows


def fps_calls(points: Tensor, G: int) -> dict[str, Callable[[], object]]:
    """Return the methods of farthest point sampling that are at hand; they must agree."""
    calls = _ours(lambda: sample_farthest_points(points, K=G)[1])
    if peer := _installed("pytorch3d.ops"):
        calls["pytorch3d"] = lambda: peer.sample_farthest_points(points, K=G)[1]
    _require_equal({method: call() for method, call in calls.items()})
    return calls


def knn_calls(centres: Tensor, points: Tensor) -> dict[str, Callable[[], object]]:
    """Return the methods of neighbour search that are at hand; all but the last three must agree."""
    calls = _ours(lambda: knn_points(centres, points, K=K))
    if peer := _installed("pytorch3d.ops"):
        calls["pytorch3d"] = lambda: peer.knn_points(centres, points, K=K)
    _require_equal({method: call()[0] for method, call in calls.items()})  # type: ignore[index]
    calls["cdist+topk"] = lambda: torch.cdist(centres, points).topk(K, largest=False)
    pairs = [(c.numpy(), p.numpy()) for c, p in zip(centres, points, strict=True)]
    if scipy := _installed("scipy.spatial"):
        calls["cKDTree"] = lambda: [scipy.cKDTree(p).query(c, K) for c, p in pairs]
    if nanoflann := _installed("pynanoflann"):
        calls["nanoflann"] = lambda: [_kd_tree(nanoflann, p).kneighbors(c) for c, p in pairs]
    return calls


def bound(N: int, distances: int) -> float:
    """Return the least seconds that ``distances`` distances within clouds of N points can take here."""
    a, short = torch.rand(512, 512), torch.rand(16)
    x, y = torch.rand(2, BYTES * N // 8)
    product = min(sample(lambda: a @ a, 4) for _ in range(10))
    operations = 512**3 / product  # it multiplies and adds in one operation
    call = min(sample(lambda: torch.dot(short, short), 2000) for _ in range(10))
    read = min(sample(lambda: torch.dot(x, y), 2000) for _ in range(10)) - call
    return distances * max(OPERATIONS / operations, read / N)


def _ours(call: Callable[[], object]) -> dict[str, Callable[[], object]]:
    def by(backend: str) -> object:
        os.environ["PCCLORA_BACKEND"] = backend
        return call()

    torch_alone = {"torch": lambda: by("torch")}
    return torch_alone | {"native": lambda: by("auto")} if native.available() else torch_alone


def _kd_tree(nanoflann: ModuleType, points: object) -> Any:
    tree = nanoflann.KDTree(n_neighbors=K, metric="L2")
    tree.fit(points)
    return tree


def _installed(module: str) -> ModuleType | None:
    return import_module(module) if find_spec(module.split(".")[0]) else None


def _require_equal(results: dict[str, object]) -> None:
    first = results["torch"]
    for method, result in results.items():
        if not torch.equal(first, result):  # type: ignore[arg-type]
            raise AssertionError(f"{method} and torch differ: nothing to compare")
