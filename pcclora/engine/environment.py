"""What surrounds a run: the processes and devices it computes on, and the versions that its numbers depend on."""

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from pcclora.engine.devices import devices_here
from pcclora.engine.settings import Training
from pcclora.errors import PccloraError
from pcclora.extras import of_extra
from pcclora.log import logger

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")


def make_accelerator(training: Training) -> "Accelerator":
    """Set up processes, device and precision; alone, or under ``accelerate launch --multi_gpu``.

    That option serves CPUs as well: with ``--cpu`` accelerate starts a single process, whatever number it is given.

    A device that is not there gives way to the one that is: a finished run may be used on another machine.
    :func:`~pcclora.engine.machine.check_machine` refuses it before a training.

    Args:
        training: ``device``, ``precision`` and ``accumulation``.

    Raises:
        PccloraError: If several processes were started and do not form one group.
    """
    with of_extra("train", "a run"):
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState, PartialState

    # accelerate keeps its settings for the life of a process and refuses others; a second run may well differ
    AcceleratorState._reset_state()
    GradientState._reset_state()
    if single_process():  # the group of several lasts
        PartialState._reset_state()
    mixed = "bf16" if training.precision == "bf16" else "no"
    # without an accelerator it must be told, or each of several processes would take itself for the only one
    cpu = training.device == "cpu" or not torch.accelerator.is_available()
    with _asking_for(training.device):
        accelerator = Accelerator(mixed_precision=mixed, gradient_accumulation_steps=training.accumulation, cpu=cpu)
    if (started := int(os.environ.get("WORLD_SIZE", "1"))) != accelerator.num_processes:
        raise PccloraError(f"{started} processes were started, but they did not join: {accelerator.num_processes}")
    return accelerator


@contextmanager
def _asking_for(name: str) -> Iterator[None]:
    """Inside, accelerate takes this device, if it is here; what draws or allocates without naming one does so too."""
    if name not in devices_here()[1:] or not single_process():
        yield
        return
    torch.accelerator.set_device_index(torch.device(name).index or 0)
    os.environ["ACCELERATE_TORCH_DEVICE"] = name
    try:
        yield
    finally:
        del os.environ["ACCELERATE_TORCH_DEVICE"]


def agree(training: Training, value: T) -> T:
    """Return the main process's ``value`` on every process: a folder named after the time differs between them."""
    if single_process():
        return value
    make_accelerator(training)  # joins the processes
    from accelerate.utils import broadcast_object_list

    values = [value]
    broadcast_object_list(values)
    return values[0]


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def single_process() -> bool:
    """Whether this is not one of several processes of ``accelerate launch``."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def describe_environment(accelerator: "Accelerator") -> dict[str, Any]:
    """Return what two runs must share to be equal bit for bit."""
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "accelerate": _version("accelerate"),
        "pcclora": _version("pcclora"),
        "platform": platform.platform(),
        "processor": _processor(),
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
    }


def compare_environment(then: Mapping[str, Any], accelerator: "Accelerator") -> None:
    """Report what has changed since a run was begun; its end will not be bit-equal then.

    Raises:
        PccloraError: If the number of processes has changed: the batches would not be the same.
    """
    now = describe_environment(accelerator)
    if now["processes"] != then.get("processes"):
        began = then.get("processes")
        raise PccloraError(f"the run was begun on {began} processes, not {now['processes']}; resume it on as many")
    changed = [f"{key} {then.get(key)} -> {value}" for key, value in now.items() if then.get(key) != value]
    if changed and accelerator.is_main_process:
        logger.warning(
            "resumed in another environment (%s): the result may differ in its last bits", "; ".join(changed)
        )


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory in use so far, in MB: of the accelerator if there is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return found[0] if found else platform.machine()
    return platform.processor() or platform.machine()
