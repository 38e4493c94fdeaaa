"""Evaluation: every sample once, whatever the number of processes, and the same scores for each of them.

accelerate evens out the processes by repeating samples and ``gather_for_metrics`` drops as many at the end; here each
sample carries its index in the data set and goes to that place, so that order and repetition cannot matter. Batches
have one fixed size, because a matrix product may round differently with another number of rows.

Of scores that are not finite the largest is whatever a comparison makes of NaN. They are no answers, and are refused
here, where every one passes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from pcclora.data import Loader, set_epoch
from pcclora.data.loader import Items
from pcclora.engine.devices import Processes
from pcclora.engine.loop import DivergenceError


class Evaluation(ABC):
    """What a model answered for each sample of a data set."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Return ``loss`` and the task's figures, the latter from 0 to 1."""

    @abstractmethod
    def write(self, folder: Path, *, names: Sequence[str], classes: Sequence[str]) -> None:
        """Write the predictions, into a run's folder or another.

        Args:
            folder: It.
            names: What each sample is called.
            classes: What each class is called.
        """

    def details(self) -> dict[str, Any]:
        """Return what summary.json has beside the figures."""
        return {}


E = TypeVar("E", bound=Evaluation)
Answer = tuple[Tensor, Tensor]
"""Scores and truth of one sample, on the CPU: logits (C,) and a class, or (N, parts) and N labels."""
Predict = Callable[[nn.Module, Mapping[str, Tensor]], list[Answer]]


class Evaluator:
    """Runs a model over one data set.

    Args:
        loader: From :func:`pcclora.data.make_loader`, in the data set's order.
        predict: (model, batch) -> one answer a sample.
        accelerator: From :func:`~pcclora.engine.environment.make_accelerator`, or one process alone.
        passes: How often; each is an epoch of the loader.
    """

    def __init__(self, loader: Loader, predict: Predict, *, accelerator: Processes, passes: int = 1) -> None:
        self.samples, self.batch_size = len(loader.dataset), loader.batch_size
        self.predict, self.accelerator, self.passes = predict, accelerator, passes
        self.loader: Loader = accelerator.prepare_data_loader(loader)

    def __call__(self, model: nn.Module) -> list[list[Answer]]:
        """Evaluate in eval mode; the model's mode is put back.

        Args:
            model: Prepared by accelerate or plain, on the accelerator's device.

        Returns:
            For each pass the answers in the data set's order, on every process.

        Raises:
            DivergenceError: If a score, or a probability made of it, is not finite.
        """
        was_training = model.training
        model.eval()
        passes = [self._pass(model, number) for number in range(self.passes)]
        model.train(was_training)
        return passes

    @torch.no_grad()
    def _pass(self, model: nn.Module, number: int) -> list[Answer]:
        set_epoch(self.loader, number)
        found: dict[int, Answer] = {}
        for batch in self.loader:
            full = {name: fill_up(tensor, self.batch_size) for name, tensor in batch.items()}
            answers = self.predict(model, full)
            found.update(zip(full["index"].tolist(), answers, strict=True))
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            found = dict(gather_object(list(found.items())))
        answers = [found[index] for index in range(self.samples)]
        check_finite([scores for scores, _ in answers], self.loader.dataset)
        return answers


class Watched(Generic[E]):
    """Evaluates for the curves and keeps the last evaluation: the loop asks after the last epoch anyway.

    Args:
        evaluate: From :meth:`pcclora.tasks.base.Task.evaluator`.
        split: What it is of, for the names of the columns; none without.

    Attributes:
        last: The last evaluation, None before the first.
    """

    def __init__(self, evaluate: Callable[[nn.Module], E], *, split: str = "") -> None:
        self.evaluate, self.prefix = evaluate, f"{split}_" if split else ""
        self.last: E | None = None

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Evaluate and return the columns."""
        self.last = self.evaluate(model)
        return {f"{self.prefix}{name}": value for name, value in self.last.metrics().items()}


def check_finite(scores: Sequence[Tensor], samples: Items) -> None:
    """Refuse what a model computed of samples, unless all of it, and a loss of it, is finite.

    Args:
        scores: One tensor a sample, on the CPU; classes or parts, or features, are its last dimension.
        samples: What the loader reads: ``samples.dataset[index].path`` says where a sample came from.

    Raises:
        DivergenceError: Naming the first such sample and how many there are.
    """
    bad = [n for n, own in enumerate(scores) if not own.isfinite().all() or not own.log_softmax(-1).isfinite().all()]
    if bad:
        path = getattr(samples.dataset[bad[0]], "path", "")
        raise DivergenceError(
            f"{len(bad)} of {len(scores)} answers of the model are nan or infinite, the first to sample {bad[0]}"
            f"{f' ({path})' if path else ''}: it diverged in training (lower train.lr), or the values of these samples "
            "are out of all proportion (of clouds: data.normalize=true)"
        )


def fill_up(x: Tensor, size: int) -> Tensor:
    """Repeat rows of a short last batch up to ``size``."""
    return x if len(x) == size else x[torch.arange(size, device=x.device) % len(x)]
