"""What a part segmenter answered for a test set: its scores, and what is written of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcclora.engine.run_folder import RunFolder, write_rows
from pcclora.engine.task import Evaluation, Labels
from pcclora.metrics.part_iou import PartScores, part_ious, score_parts
from pcclora.tensor_file import write_tensors
from pcclora.text import csv_cell

FIGURES = {"instance_miou": "instance mIoU", "class_miou": "class mIoU", "accuracy": "point accuracy"}
"""Name of a figure -> its heading in tables."""


@dataclass(frozen=True)
class PartEvaluation(Evaluation):
    """Part scores of all shapes of a data set, in its order.

    Attributes:
        scores: For each shape (N, parts of its class) float32: log-probabilities, normalised over the parts of all
            classes.
        truth: For each shape (N,) int64, the true part labels.
        labels: (S,) class of each shape.
        names: Of classes and parts.
    """

    scores: list[Tensor]
    truth: list[Tensor]
    labels: list[int]
    names: Labels

    @cached_property
    def parts(self) -> list[Tensor]:
        """For each shape the labels of its class's parts."""
        return [torch.tensor(self.names.required_parts.of_class[label]) for label in self.labels]

    @cached_property
    def predictions(self) -> list[Tensor]:
        """For each shape (N,) int64: the best part of its class."""
        return [parts[scores.argmax(dim=1)] for parts, scores in zip(self.parts, self.scores, strict=True)]

    @cached_property
    def probabilities(self) -> list[Tensor]:
        """For each shape (N, parts of its class) float32, of sum 1 over these."""
        return [scores.softmax(dim=1) for scores in self.scores]

    @cached_property
    def shape_mious(self) -> list[float]:
        """For each shape the mean IoU of its class's parts, 0 to 1."""
        return self._mious(self.predictions)

    @cached_property
    def part_scores(self) -> PartScores:
        """Both mIoUs, the accuracy, and the table of classes."""
        return self._scored(self.predictions, self.shape_mious)

    @cached_property
    def constant_scores(self) -> PartScores:
        """The scores of an answer without a look at the points: of each class the part that most of its points have."""
        counts = np.zeros((len(self.names.class_names), len(self.names.required_parts.names)), np.int64)
        for truth, label in zip(self.truth, self.labels, strict=True):
            counts[label] += np.bincount(truth, minlength=counts.shape[1])
        most = counts.argmax(axis=1)
        answers = [torch.full_like(t, int(most[label])) for t, label in zip(self.truth, self.labels, strict=True)]
        return self._scored(answers, self._mious(answers))

    def _mious(self, answers: list[Tensor]) -> list[float]:
        held = zip(self.truth, answers, self.parts, strict=True)
        return [float(part_ious(truth, answer, parts.tolist()).mean()) for truth, answer, parts in held]

    def _scored(self, answers: list[Tensor], mious: list[float]) -> PartScores:
        correct = [int((a == b).sum()) for a, b in zip(self.truth, answers, strict=True)]
        return score_parts(mious, self.labels, correct=correct, points=[len(truth) for truth in self.truth])

    def metrics(self) -> dict[str, float]:
        """Return ``loss`` (negative log-likelihood of a point), ``instance_miou``, ``class_miou`` and ``accuracy``."""
        held = zip(self.scores, self.truth, self.parts, strict=True)
        losses = [-scores.gather(1, torch.searchsorted(parts, truth)[:, None]) for scores, truth, parts in held]
        return {"loss": torch.cat(losses).double().mean().item(), **_figures(self.part_scores)}

    def details(self) -> dict[str, Any]:
        """Return the mIoU and number of shapes of each class that has shapes, and the figures of a constant answer."""
        classes = self.names.class_names
        categories = {classes[i]: asdict(score) for i, score in self.part_scores.categories.items()}
        return {"categories": categories, "constant": _figures(self.constant_scores)}

    def write(self, folder: Path, *, names: Sequence[str], classes: Sequence[str]) -> None:
        """Write one CSV line a shape, with how many parts it has, and of all points the part and its probabilities."""
        lengths = [len(truth) for truth in self.truth]
        right = [float((a == b).float().mean()) for a, b in zip(self.truth, self.predictions, strict=True)]
        own = [len(np.unique(truth.numpy())) for truth in self.truth]
        columns = zip(names, self.labels, self.shape_mious, own, lengths, right, strict=True)
        rows = [
            [i, csv_cell(name), label, f"{iou:.6f}", k, n, f"{share:.6f}", csv_cell(classes[label])]
            for i, (name, label, iou, k, n, share) in enumerate(columns)
        ]
        run = RunFolder(folder)
        write_rows(run.predictions, ["index", "path", "label", "miou", "parts", "points", "accuracy", "class"], rows)
        flat = [held.flatten().half() for held in self.probabilities]
        tensors = {"parts": torch.cat(self.predictions).short(), "probabilities": torch.cat(flat)}
        write_tensors(run.predicted_parts, {"lengths": torch.tensor(lengths), **tensors})


def _figures(scores: PartScores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in FIGURES}
