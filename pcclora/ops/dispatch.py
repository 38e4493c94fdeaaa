"""Which of the equal implementations of the ops runs, and why.

The environment variable ``PCCLORA_BACKEND`` chooses: ``auto`` (the default: the native kernel for CPU tensors where
the package has it, else torch), ``torch`` (plain torch everywhere), or ``pytorch3d``. The last is never chosen
unasked: its CUDA code rounds with fused multiply-add and it leaves equal distances in any order, so that ties and
near-ties may fall otherwise than here.
"""

import os
from enum import Enum
from importlib.util import find_spec

from torch import Tensor, float32

from pcclora.errors import PccloraError, did_you_mean
from pcclora.ops import native

VARIABLE = "PCCLORA_BACKEND"
CHOICES = ("auto", "torch", "pytorch3d")


class Backend(Enum):
    """An implementation of the ops."""

    NATIVE = "native"
    TORCH = "torch"
    PYTORCH3D = "pytorch3d"


def choose(points: Tensor, *, pytorch3d_can: bool = True) -> Backend:
    """Return the implementation to use for ``points``.

    Args:
        points: The cloud, after its checks.
        pytorch3d_can: Whether pytorch3d has the options asked for.

    Raises:
        PccloraError: If ``PCCLORA_BACKEND`` asks for one that does not exist, is not installed, or cannot do it.
    """
    match _asked():
        case "torch":
            return Backend.TORCH
        case "pytorch3d":
            if not pytorch3d_can or points.dtype != float32:
                raise PccloraError(f"{VARIABLE}=pytorch3d: it has float32, start=0 and no skip rule only; unset it")
            return Backend.PYTORCH3D
    return Backend.NATIVE if points.device.type == "cpu" and native.available() else Backend.TORCH


def backends() -> dict[str, str]:
    """Say, for each kind of device, which implementation is in use and why.

    Returns:
        A line for ``cpu``, ``cuda`` and ``mps``, the implementation and the reason.

    Raises:
        PccloraError: If ``PCCLORA_BACKEND`` asks for one that does not exist or is not installed.
    """
    asked = _asked()
    if asked != "auto":
        return dict.fromkeys(("cpu", "cuda", "mps"), f"{asked}: {VARIABLE} asks for it")
    installed = f"set {VARIABLE}=pytorch3d to use the one installed" if find_spec("pytorch3d") else "no other needed"
    return {
        "cpu": f"native: {native.status()}" if native.available() else f"torch: {native.status()}",
        "cuda": f"torch: {installed}",
        "mps": "torch: no other runs there",
    }


def _asked() -> str:
    asked = os.environ.get(VARIABLE, "auto")
    if asked not in CHOICES:
        raise PccloraError(f"{VARIABLE}={asked}: no such implementation{did_you_mean(asked, CHOICES)}")
    if asked == "pytorch3d" and find_spec("pytorch3d") is None:
        raise PccloraError(f"{VARIABLE}=pytorch3d: it is not installed; install it or unset the variable")
    return asked
