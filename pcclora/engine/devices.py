"""The processes that evaluate together: accelerate's, or one alone, which needs no accelerate."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pcclora.engine.settings import Training
from pcclora.errors import PccloraError


class Processes(Protocol):
    """What an evaluation asks of accelerate's ``Accelerator``."""

    @property
    def num_processes(self) -> int:
        """How many there are."""

    def prepare_data_loader(self, data_loader: Any) -> Any:
        """Return a loader that gives this process its share, on its device."""

    def unwrap_model(self, model: Any) -> Any:
        """Return a model without what was put around it."""

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the precision of the run."""


@dataclass(frozen=True)
class OneProcess:
    """One process on one device. It keeps no state, so that threads may each have their own.

    Attributes:
        device: Where it computes.
        precision: ``fp32`` or ``bf16``, as a run's ``train.precision``.
    """

    device: torch.device
    precision: str = "fp32"
    num_processes: int = 1

    def prepare_data_loader(self, data_loader: Any) -> Any:
        """Return a loader of batches on the device."""
        return data_loader if self.device.type == "cpu" else _Moved(data_loader, self.device)

    def unwrap_model(self, model: Any) -> Any:
        """Return the model: nothing was put around it."""
        return model

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in the precision of the run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


class _Moved:
    """A loader whose batches are moved to a device."""

    def __init__(self, loader: Any, device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        for batch in self.loader:
            yield {name: tensor.to(self.device) for name, tensor in batch.items()}


def devices_here() -> tuple[str, ...]:
    """Return the names of this machine's devices as torch has them: ``cpu``, then ``cuda``, ``cuda:0`` and so on."""
    here = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if here is not None else 0
    return ("cpu",) if here is None else ("cpu", here.type, *(f"{here.type}:{index}" for index in range(count)))


def device_of(training: Training) -> torch.device:
    """Return the device that a run is trained on here; one that is not here gives way to the accelerator that is."""
    here = devices_here()
    return torch.device(training.device if training.device in here else here[1] if here[1:] else "cpu")


def find_device(name: str | torch.device) -> torch.device:
    """Return a device that is there.

    Args:
        name: As torch has it: ``cpu``, ``cuda``, ``cuda:1``; also ``cpu:0``, as accelerate has it in several processes.

    Raises:
        PccloraError: If it is none, or not on this machine; the message says which are.
    """
    spelled = str(name).replace("cpu:0", "cpu")
    if spelled not in (known := devices_here()):
        raise PccloraError(f"device '{name}': not on this machine, which has {', '.join(known)}")
    return torch.device(spelled)
