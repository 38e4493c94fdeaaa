"""One class a sample; the task ``cls``: one class a cloud."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.data import LabelledDataset, Loader, make_loader
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.devices import Processes
from pcclora.engine.evaluator import Answer, Evaluation, Evaluator
from pcclora.engine.loop import Loss
from pcclora.engine.run_folder import RunFolder, write_rows
from pcclora.errors import PccloraError
from pcclora.metrics.accuracy import accuracy, confusion_matrix, mean_class_accuracy
from pcclora.metrics.calibration import COLDEST, HOTTEST, reliability
from pcclora.tasks.base import Labels, Task
from pcclora.tasks.point_clouds import PointCloudTask
from pcclora.tasks.settings import ClassificationRun, ImageRun
from pcclora.text import csv_cell


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by before they become probabilities; the predicted class does not change.

    Attributes:
        value: It; 1 leaves them.
        fitted_on: How many samples it was fitted to; 0: it was not.
        split: Of which split.
    """

    value: float = 1.0
    fitted_on: int = 0
    split: str = ""

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any]) -> "Temperature":
        """Read what a summary says; an earlier version's says nothing.

        Raises:
            PccloraError: If it is no temperature.
        """
        held = summary.get("calibration")
        if held is None:
            return cls()
        if not COLDEST <= held["temperature"] <= HOTTEST:
            raise PccloraError(
                f"summary.json: its temperature is {held['temperature']}; from {COLDEST:g} to {HOTTEST:g} is needed"
            )
        return cls(held["temperature"], held["fitted_on"], held["split"])


@dataclass(frozen=True)
class ClassEvaluation(Evaluation):
    """Logits of a whole data set, in its order.

    Attributes:
        logits: (N, C) float32, on the CPU.
        labels: (N,) int64.
        temperature: By which they become probabilities.
    """

    logits: Tensor
    labels: Tensor
    temperature: Temperature = Temperature()

    @classmethod
    def of(cls, passes: list[list[Answer]]) -> "ClassEvaluation":
        """Average the logits of an evaluator's passes."""
        logits = torch.stack([torch.stack([scores for scores, _ in answers]) for answers in passes])
        return cls(logits.mean(dim=0), torch.stack([label for _, label in passes[0]]))

    @property
    def predictions(self) -> Tensor:
        """(N,) int64, the class of the largest logit."""
        return self.logits.argmax(dim=1)

    @property
    def probabilities(self) -> Tensor:
        """(N, C) float32, of each class."""
        return (self.logits / self.temperature.value).softmax(dim=1)

    @property
    def confidences(self) -> Tensor:
        """(N,) float32, the probability of the predicted class."""
        return self.probabilities.amax(dim=1)

    def metrics(self) -> dict[str, float]:
        """Return ``loss`` (cross-entropy), ``accuracy`` and ``mean_class_accuracy``, the latter two from 0 to 1."""
        classes = self.logits.shape[1]
        confusion = confusion_matrix(self.labels.numpy(), self.predictions.numpy(), num_classes=classes)
        loss = F.cross_entropy(self.logits, self.labels).item()
        return {"loss": loss, "accuracy": accuracy(confusion), "mean_class_accuracy": mean_class_accuracy(confusion)}

    def details(self) -> dict[str, Any]:
        """Return the temperature, and the calibration error with it and without."""
        right = self.predictions == self.labels
        without = replace(self, temperature=Temperature()).confidences
        error, before = (reliability(sure, right).error for sure in (self.confidences, without))
        held = self.temperature
        fitted = {"temperature": held.value, "fitted_on": held.fitted_on, "split": held.split}
        return {"calibration": {"error": error, "error_before": before, **fitted}}

    def write(self, folder: Path, *, names: Sequence[str], classes: Sequence[str]) -> None:
        """Write one CSV line a sample: what it is, its class and the predicted one, by number and name, confidence."""
        columns = zip(names, self.labels.tolist(), self.predictions.tolist(), self.confidences.tolist(), strict=True)
        shown = [csv_cell(name) for name in classes]
        rows = [
            [i, csv_cell(name), label, guess, f"{p:.6f}", shown[label], shown[guess]]
            for i, (name, label, guess, p) in enumerate(columns)
        ]
        header = ["index", "path", "label", "prediction", "confidence", "class", "predicted_class"]
        write_rows(RunFolder(folder).predictions, header, rows)


def class_weights(dataset: LabelledDataset) -> Tensor:
    """Return (C,) float32: samples / (classes with samples x samples of the class), 0 for a class without any.

    The formula is scikit-learn's, ``class_weight="balanced"``, after King and Zeng, "Logistic regression in rare events
    data", 2001. The mean over the samples is 1.
    """
    counts = torch.bincount(torch.from_numpy(dataset.labels), minlength=len(dataset.class_names)).double()
    there = counts > 0
    return torch.where(there, counts.sum() / (there.sum() * counts.clamp(min=1)), 0).float()


ClassRun = TypeVar("ClassRun", ClassificationRun, ImageRun)


class ClassTask(Task[ClassRun]):
    """Cross-entropy on the logits of a sample, whatever a sample is."""

    head = "cls"
    figures = {"accuracy": "accuracy", "mean_class_accuracy": "mean class acc."}  # noqa: RUF012 - never changed

    def labels(self, dataset: LabelledDataset) -> Labels:
        """Return the classes."""
        return Labels(dataset.class_names)

    def loss(self, config: ClassRun, dataset: LabelledDataset) -> Loss:
        """Return cross-entropy with label smoothing, each class with its weight if it has one, and the accuracy."""
        smoothing = config.train.label_smoothing
        weights = class_weights(dataset) if config.train.class_weights == "balanced" else None

        def of_batch(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensors:
            logits, truth = model(*self.inputs(batch)), batch["labels"]
            correct = (logits.argmax(dim=1) == truth).float().mean()
            if weights is None:
                return {"loss": F.cross_entropy(logits, truth, label_smoothing=smoothing), "accuracy": correct}
            own = weights.to(logits.device, logits.dtype)
            # torch's own mean divides by the weights of the batch, so that each batch, and process, had another scale
            each = F.cross_entropy(logits, truth, own, label_smoothing=smoothing, reduction="none")
            return {"loss": each.mean(), "accuracy": correct}

        return of_batch

    def answers(self, model: nn.Module, batch: Mapping[str, Tensor]) -> list[Answer]:
        """Return logits and class of each sample of a batch."""
        return list(zip(model(*self.inputs(batch)).float().cpu(), batch["labels"].cpu(), strict=True))

    def evaluator(
        self, config: ClassRun, dataset: LabelledDataset, accelerator: Processes, *, votes: int = 0
    ) -> Callable[[nn.Module], ClassEvaluation]:
        """Prepare the evaluation; without votes a sample is as the preset leaves test samples."""
        loader = self.test_loader(config, dataset, votes=votes)
        answers_of = Evaluator(loader, self.answers, accelerator=accelerator, passes=max(votes, 1))
        return lambda model: ClassEvaluation.of(answers_of(model))


class Classification(ClassTask[ClassificationRun], PointCloudTask[ClassificationRun]):
    """One class a cloud."""

    name, title, schema, tool = "cls", "classification", ClassificationRun, "pcclora train-cls"

    def inputs(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the points."""
        return (batch["points"],)

    def test_loader(self, config: ClassificationRun, dataset: LabelledDataset, *, votes: int = 0) -> Loader:
        """Return the test batches; without votes the exact farthest points."""
        return make_loader(
            dataset,
            points=config.points,
            batch_size=min(config.train.batch_size, len(dataset)),
            train=False,
            seed=config.seed,
            augmentation=config.augmentation,
            workers=config.train.workers,
            vote=votes > 0,
        )
