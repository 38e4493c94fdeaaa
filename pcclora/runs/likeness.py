"""Whether an object is like those that a run was trained on: a classifier of six classes will be shown a seventh.

A run on classes keeps, in ``likeness.safetensors``, the features of its training objects: what its head reads. The
score of an object is the distance from its features to the nearest of theirs (Sun et al., "Out-of-Distribution
Detection with Deep Nearest Neighbors", arXiv 2204.06507; here plain Euclidean, one neighbour). It is told as the share
of training objects that are nearer to the others, each left out in turn. ``docs/trust.md`` has what that finds, and
what it does not.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pcclora.data import LabelledDataset, Subset
from pcclora.data.sets.folder import thin
from pcclora.engine.devices import Processes
from pcclora.engine.evaluator import Answer, Evaluator
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.models.backbone import Classifier
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import AdaptationRun
from pcclora.tensor_file import read_tensors, write_tensors
from pcclora.text import visible

FILE = "likeness.safetensors"
MOST_OBJECTS = 2000
"""Training objects whose features are kept, drawn evenly from all."""
FEWEST_OBJECTS = 20
UNLIKE = 0.95
"""The share of training objects that are nearer, from which on a word is said."""
_LEVELS = 1001
_REMEDY = "without it nothing is said of objects that are unlike the training objects"


@dataclass(frozen=True)
class Likeness:
    """What a run knows of its training objects.

    Attributes:
        known: (M, F) float32 features of training objects.
        distances: (1001,) float32, ascending: quantiles of their own distances, each to the nearest of the others.
    """

    known: Tensor
    distances: Tensor

    @classmethod
    def of(cls, known: Tensor) -> "Likeness":
        """Learn from features (M, F) of training objects what distances are usual."""
        known = known.half().float()  # as the file has them
        return cls(known, torch.quantile(_nearest(known, known, own=True), torch.linspace(0, 1, _LEVELS)))

    def share_nearer(self, features: Tensor) -> NDArray[np.float64]:
        """Return for features (B, F) the share of training objects that are nearer, (B,) from 0 to 1."""
        apart = _nearest(features, self.known).numpy()
        return np.asarray(np.interp(apart, self.distances.numpy(), np.linspace(0, 1, _LEVELS)))

    def write(self, path: Path) -> None:
        """Write or replace the file; features as float16."""
        write_tensors(path, {"known": self.known.half(), "distances": self.distances})

    @classmethod
    def read(cls, path: Path) -> "Likeness":
        """Read the file.

        Raises:
            PccloraError: If it is damaged.
        """
        held, _ = read_tensors(path, remedy=_REMEDY)
        shapes = {name: tuple(tensor.shape) for name, tensor in held.items()}
        if shapes.keys() != {"known", "distances"} or len(shapes["known"]) != 2 or shapes["distances"] != (_LEVELS,):
            raise PccloraError(f"{path}: does not hold features and {_LEVELS} distances: {_REMEDY}")
        found = cls(held["known"].float(), held["distances"].float())
        if not all(tensor.isfinite().all() for tensor in (found.known, found.distances)) or not len(found.known):
            raise PccloraError(f"{path}: holds no features, or such that are not finite: {_REMEDY}")
        return found


def learn(config: AdaptationRun, train: LabelledDataset, model: nn.Module, processes: Processes) -> Likeness | None:
    """Learn what a run's objects are like; nothing of parts, of fewer than 20, or of a model that has no features.

    Args:
        config: The run.
        train: What it was trained on.
        model: Trained, on the device of the processes.
        processes: Who computes; each gets the same.
    """
    if not isinstance(model, Classifier) or len(train) < FEWEST_OBJECTS:
        return None
    task, some = task_of(config), Subset(train, thin(len(train), MOST_OBJECTS))

    def answers(model: nn.Module, batch: Mapping[str, Tensor]) -> list[Answer]:
        seen: list[Tensor] = []
        with head_inputs(model, seen):
            model(*task.inputs(batch))
        return list(zip(seen[0], batch["labels"].cpu(), strict=True))

    (found,) = Evaluator(task.test_loader(config, some), answers, accelerator=processes)(model)
    return Likeness.of(torch.stack([features for features, _ in found]))


@contextmanager
def head_inputs(model: nn.Module, seen: list[Tensor]) -> Iterator[None]:
    """Collect what the head of a classifier reads inside: (B, F) float32 a forward, on the CPU; nothing of others."""
    if not isinstance(model, Classifier):
        yield
        return
    head = model.get_submodule(model.head_names[0])
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().float().cpu()))
    try:
        yield
    finally:
        hook.remove()


def _nearest(features: Tensor, known: Tensor, *, own: bool = False) -> Tensor:
    """Return the distance (B,) of features to the nearest known ones; of known ones themselves to the nearest other."""
    found = []
    for start in range(0, len(features), 256):
        apart = torch.cdist(features[start : start + 256], known, compute_mode="donot_use_mm_for_euclid_dist")
        if own:
            apart[torch.arange(len(apart)), torch.arange(start, start + len(apart))] = torch.inf
        found.append(apart.amin(dim=1))
    return torch.cat(found)


def shares_nearer(folder: Path, seen: Sequence[Tensor], count: int) -> list[float | None]:
    """Return how unlike a run's training objects some are; None each where the run knows nothing of that.

    Args:
        folder: The run's.
        seen: Their features, a batch each, the last one filled up.
        count: How many they are.

    Raises:
        PccloraError: If the run's file is damaged, or of another model.
    """
    if not seen or not (folder / FILE).is_file():
        return [None] * count
    held, features = Likeness.read(folder / FILE), torch.cat(list(seen))[:count]
    if held.known.shape[1] != features.shape[1]:
        raise PccloraError(
            f"{folder / FILE}: is of {held.known.shape[1]} features, the model has {features.shape[1]}: {_REMEDY}"
        )
    return [float(share) for share in held.share_nearer(features)]


def say_unlike(names: Sequence[str], shares: Sequence[float | None]) -> None:
    """Say which objects are unlike those that a run was trained on."""
    unlike = [name for name, share in zip(names, shares, strict=True) if share is not None and share >= UNLIKE]
    if unlike:
        few = (
            visible(unlike[0]) if len(names) == 1 else f"{len(unlike)} of {len(names)} files (as {visible(unlike[0])})"
        )
        words = "%s: unlike the training data (as %.0f %% of known objects are); is it of a class of the run?"
        logger.warning(words, few, 100 * (1 - UNLIKE))
