"""The task ``partseg``: one part a point, among the parts of the cloud's class.

The model sees ``points`` of a cloud and labels any point of it by its own interpolation from the centres, so that a
test cloud of any size is scored on all of its points. A prediction is the best part of the cloud's class; both mIoUs
are of the same predictions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pcclora.data import LabelledDataset, Loader, Parts, make_loader
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.devices import Processes
from pcclora.engine.evaluator import Answer, Evaluation, Evaluator
from pcclora.engine.loop import Loss
from pcclora.engine.run_folder import RunFolder, write_rows
from pcclora.metrics.part_iou import PartScores, part_ious, score_parts
from pcclora.tasks.base import Labels
from pcclora.tasks.point_clouds import PointCloudTask
from pcclora.tasks.settings import PartSegmentationRun
from pcclora.tensor_file import write_tensors
from pcclora.text import csv_cell

if TYPE_CHECKING:
    from pcclora.models.points.part_segmentation import PartSegmenter

CHUNK = 1024
"""Points that are decoded at once: always as many, because a product may round differently with another number."""
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
    def shape_ious(self) -> list[NDArray[np.float64]]:
        """For each shape the IoU of each of its class's parts, 0 to 1; a part absent from both has 1."""
        return self._ious(self.predictions)

    @cached_property
    def shape_mious(self) -> list[float]:
        """For each shape the mean IoU of its class's parts, 0 to 1."""
        return [float(ious.mean()) for ious in self.shape_ious]

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
        return self._scored(answers, [float(ious.mean()) for ious in self._ious(answers)])

    @cached_property
    def part_scores_by_class(self) -> dict[str, dict[str, dict[str, float]]]:
        """Class -> part -> its mean IoU over the class's shapes, whose mean is the class's, and how many have it."""
        found = {}
        for label in self.part_scores.categories:
            shapes = [index for index, own in enumerate(self.labels) if own == label]
            ious = np.mean([self.shape_ious[index] for index in shapes], axis=0)
            parts, names = self.names.required_parts.of_class[label], self.names.required_parts.names
            having = [sum(bool((self.truth[index] == part).any()) for index in shapes) for part in parts]
            found[self.names.class_names[label]] = {
                names[part]: {"iou": float(iou), "shapes": count}
                for part, iou, count in zip(parts, ious, having, strict=True)
            }
        return found

    def _ious(self, answers: list[Tensor]) -> list[NDArray[np.float64]]:
        held = zip(self.truth, answers, self.parts, strict=True)
        return [part_ious(truth, answer, parts.tolist()) for truth, answer, parts in held]

    def _scored(self, answers: list[Tensor], mious: list[float]) -> PartScores:
        correct = [int((a == b).sum()) for a, b in zip(self.truth, answers, strict=True)]
        return score_parts(mious, self.labels, correct=correct, points=[len(truth) for truth in self.truth])

    def metrics(self) -> dict[str, float]:
        """Return ``loss`` (negative log-likelihood of a point), ``instance_miou``, ``class_miou`` and ``accuracy``."""
        held = zip(self.scores, self.truth, self.parts, strict=True)
        losses = [-scores.gather(1, torch.searchsorted(parts, truth)[:, None]) for scores, truth, parts in held]
        return {"loss": torch.cat(losses).double().mean().item(), **_figures(self.part_scores)}

    def details(self) -> dict[str, Any]:
        """Return mIoU and number of shapes of each class that has shapes and of its parts, and a constant answer's."""
        classes = self.names.class_names
        categories = {classes[i]: asdict(score) for i, score in self.part_scores.categories.items()}
        constant = _figures(self.constant_scores)
        return {"categories": categories, "category_parts": self.part_scores_by_class, "constant": constant}

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


class PartSegmentation(PointCloudTask[PartSegmentationRun]):
    """Negative log-likelihood of each point's part."""

    name, title, schema = "partseg", "part segmentation", PartSegmentationRun
    tool, head = "pcclora train-partseg", "partseg"
    figures = FIGURES
    labels_points = True

    def labels(self, dataset: LabelledDataset) -> Labels:
        """Return the classes and their parts."""
        return Labels(dataset.class_names, dataset.parts)

    def inputs(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the points and the class, which the field gives to the model."""
        return batch["points"], batch["labels"]

    def loss(self, config: PartSegmentationRun, dataset: LabelledDataset) -> Loss:
        """Return the loss over the parts of all classes, and the accuracy among those of the cloud's class."""
        allowed = torch.from_numpy(self.labels(dataset).required_parts.mask)

        def of_batch(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensors:
            logits, truth = model(batch["points"], batch["labels"]), batch["part_labels"]
            absent = ~allowed.to(logits.device)[batch["labels"]][:, None]
            correct = logits.detach().masked_fill(absent, -torch.inf).argmax(dim=2) == truth
            return {"loss": F.cross_entropy(logits.flatten(0, 1), truth.flatten()), "accuracy": correct.float().mean()}

        return of_batch

    def test_loader(self, config: PartSegmentationRun, dataset: LabelledDataset, *, votes: int = 0) -> Loader:
        """Return the test batches; what the model sees of a cloud does not depend on the run, but for votes."""
        return make_loader(
            dataset,
            points=config.points,
            batch_size=min(config.train.batch_size, len(dataset)),
            train=False,
            seed=config.seed if votes else 0,
            augmentation=config.augmentation,
            workers=config.train.workers,
            sampling="random",  # as in training
            vote=votes > 0,
            part_labels=True,
            whole=config.evaluate_on == "all",
        )

    def evaluator(
        self, config: PartSegmentationRun, dataset: LabelledDataset, accelerator: Processes, *, votes: int = 0
    ) -> Callable[[nn.Module], PartEvaluation]:
        """Prepare the evaluation: every point of a test cloud, or of the sample that the model sees."""
        names = self.labels(dataset)
        loader = self.test_loader(config, dataset, votes=votes)
        answers = partial(_answers, names.required_parts, accelerator)
        answers_of = Evaluator(loader, answers, accelerator=accelerator, passes=max(votes, 1))

        def evaluate(model: nn.Module) -> PartEvaluation:
            passes = answers_of(model)
            scores = [torch.stack([held for held, _ in own]).mean(dim=0) for own in zip(*passes, strict=True)]
            return PartEvaluation(scores, [truth for _, truth in passes[0]], dataset.labels.tolist(), names)

        return evaluate


def _answers(parts: Parts, accelerator: Processes, model: nn.Module, batch: Mapping[str, Tensor]) -> list[Answer]:
    """Label the points of each cloud in chunks of one size."""
    network, whole = cast("PartSegmenter", accelerator.unwrap_model(model)), "query" in batch
    query, truth = (
        (batch["query"], batch["query_labels"]) if whole else (batch["points"][..., :3], batch["part_labels"])
    )
    M = query.shape[1]
    lengths = batch["lengths"].tolist() if whole else [M] * len(query)
    own = [list(parts.of_class[label]) for label in batch["labels"].tolist()]
    found: list[list[Tensor]] = [[] for _ in own]
    with accelerator.autocast():
        encoded = network.encode(batch["points"], batch["labels"])
        for start in range(0, M, CHUNK):
            places = torch.arange(start, start + CHUNK, device=query.device) % M
            scores = network.decode(encoded, query[:, places]).float().log_softmax(dim=2)
            for held, row, allowed, length in zip(found, scores, own, lengths, strict=True):
                held.append(row[: max(length - start, 0), allowed].cpu())
    pairs = zip(found, truth.cpu(), lengths, strict=True)
    return [(torch.cat(held), labels[:length]) for held, labels, length in pairs]


def _figures(scores: PartScores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in FIGURES}
