"""Random generators: seeded once a run and process, captured as tensors, restored on resume."""

import random

import numpy as np
import torch
from torch import Tensor

from pcclora.errors import PccloraError

_WORDS = 624
"""Of the Mersenne Twister's state."""


def seed_everything(seed: int, process: int = 0) -> None:
    """Seed Python, numpy and torch (all devices) from (seed, process), the same on every platform."""
    words = np.random.SeedSequence([seed, process]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


def capture(device: torch.device) -> dict[str, Tensor]:
    """Return the state of every generator of this process as tensors.

    Args:
        device: The accelerator in use; its generator is captured beside the CPU's.
    """
    _, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, next_gauss = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.array([*keys, position, has_gauss], dtype=np.int64)),
        "numpy_gauss": torch.tensor([gauss], dtype=torch.float64),
        "python": torch.tensor([version, *internal], dtype=torch.int64),
        "python_gauss": torch.tensor([] if next_gauss is None else [next_gauss], dtype=torch.float64),
    }
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state()
    return states


def restore(states: dict[str, Tensor], device: torch.device) -> None:
    """Put back what :func:`capture` returned.

    Raises:
        PccloraError: If a state is missing, or none that its generator can be in.
    """
    try:
        _restore(states, device)
    except (KeyError, ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise PccloraError(f"checkpoint: the state of a random generator is missing or damaged: {error}") from error


def _restore(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    *keys, position, has_gauss = states["numpy"].tolist()
    version, *internal = states["python"].tolist()
    # numpy takes any number of words, and any place in them
    if len(keys) != _WORDS or not 0 <= position <= _WORDS or not any(keys) or not any(internal[:-1]):
        raise ValueError("not a state of the Mersenne Twister")
    np.random.set_state(("MT19937", np.array(keys, np.uint32), position, has_gauss, states["numpy_gauss"].item()))
    random.setstate((version, tuple(internal), next(iter(states["python_gauss"].tolist()), None)))
    if device.type != "cpu" and "device" in states:
        torch.get_device_module(device).set_rng_state(states["device"])
