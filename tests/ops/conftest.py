"""Clouds that try what breaks geometry code, and a switch between the implementations."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from pcclora.ops import native


@pytest.fixture(scope="session")
def cloud() -> Callable[..., Tensor]:
    """``cloud(kind, B, N, seed=0, dtype=torch.float32)`` -> (B, N, 3)."""

    def make(kind: str, B: int, N: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        random = np.random.default_rng(seed)
        points = random.uniform(-1, 1, (B, N, 3))
        match kind:
            case "duplicates":
                points = points[:, random.integers(0, N // 3 + 1, N)]
            case "collinear":
                points = points[..., :1] * np.array([1.0, 2.0, -1.0])
            case "lattice":  # ties everywhere
                points = np.round(2 * points)
            case "offset":  # coordinates whose squares leave no digits for the differences
                points = points + 1000
            case "same":
                points = np.repeat(points[:, :1], N, axis=1)
            case "huge":  # squared distances overflow in float32
                points = points * 1e25
            case "tiny":  # and underflow
                points = points * 1e-22
            case _:
                assert kind == "uniform"
        return torch.from_numpy(np.ascontiguousarray(points)).to(dtype)

    return make


@pytest.fixture(scope="session")
def backend() -> Callable[[str], AbstractContextManager[None]]:
    """``with backend("native")``: or ``"torch"``; skips where the kernel was not built."""

    @contextmanager
    def force(name: str) -> Iterator[None]:
        if name == "native" and not native.available():
            pytest.skip(native.status())
        before = os.environ.get("PCCLORA_BACKEND")
        os.environ["PCCLORA_BACKEND"] = "auto" if name == "native" else name
        try:
            yield
        finally:
            del os.environ["PCCLORA_BACKEND"]
            if before is not None:
                os.environ["PCCLORA_BACKEND"] = before

    return force
