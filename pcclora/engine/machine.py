"""Whether this machine can do what a training asks of it; asked before a folder is made for it."""

from collections.abc import Mapping

import torch

from pcclora.engine.devices import devices_here
from pcclora.engine.environment import single_process
from pcclora.engine.settings import Training
from pcclora.engine.trackers import check_trackers
from pcclora.errors import PccloraError
from pcclora.extras import require_extra
from pcclora.log import logger

BF16 = ("avx512_bf16", "amx_bf16")
"""What processors of the x86 kind multiply bfloat16 with; without it they convert, and multiply float32."""


def check_machine(training: Training, device: torch.device) -> None:
    """Refuse a training that cannot be done here, and say of one that is done slowly why.

    Args:
        training: Its ``trackers``, ``device``, ``compile`` and ``precision``.
        device: What it computes on.

    Raises:
        PccloraError: Naming the key, what is lacking and the remedy.
    """
    require_extra("train", "training")
    check_trackers(training.trackers)
    _check_device(training.device)
    if training.compile:
        _check_compiler(device)
    if training.precision == "bf16" and device.type == "cpu" and _emulates_bf16():
        logger.warning(
            "train.precision=bf16: this processor has no instructions for it (%s); a step of Point-MAE was measured to "
            "take 4 to 13 times as long as with fp32",
            ", ".join(BF16),
        )


def _emulates_bf16() -> bool:
    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.10 has none
    return known.get("architecture") in ("x86_64", "AMD64") and not any(map(known.get, BF16))


def _check_device(name: str) -> None:
    if ":" in name and not single_process():
        raise PccloraError(
            f"train.device is {name}, and there are several processes, each with a device of its own: leave it out "
            "(CUDA_VISIBLE_DEVICES chooses GPUs)"
        )
    if name != "auto" and name not in (known := devices_here()):
        raise PccloraError(f"train.device is {name}: not on this machine, which has {', '.join(known)}")


def _check_compiler(device: torch.device) -> None:
    """Compile a line: what lacks, as a C++ compiler, shows here and not in the first step."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:  # of torch's many parts, each with a family of its own
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise PccloraError(
            f"train.compile=true: torch.compile does not work here: {cause}; install what it lacks (on a CPU a C++ "
            "compiler, on a GPU triton), or leave train.compile out"
        ) from error
