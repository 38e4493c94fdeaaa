"""The task ``partseg``: one part a point, among the parts of the cloud's class.

The model sees ``points`` of a cloud and labels any point of it by its own interpolation from the centres, so that a
test cloud of any size is scored on all of its points. A prediction is the best part of the cloud's class; both mIoUs
are of the same predictions.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.atomic import replacing
from pcclora.data import PartBatch, Parts, PointCloudDataset, make_loader
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.evaluate import Answer, Evaluator
from pcclora.engine.run_folder import RunFolder, write_rows
from pcclora.engine.settings import PartSegmentationRun
from pcclora.engine.task import Evaluation, Labels, Task
from pcclora.metrics.part_iou import PartScores, part_ious, score_parts

if TYPE_CHECKING:
    from accelerate import Accelerator

CHUNK = 1024
"""Points that are decoded at once: always as many, because a product may round differently with another number."""


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

    def write(self, folder: Path) -> None:
        """Write one CSV line a shape, and for all points the predicted part and its probabilities."""
        from safetensors.torch import save_file

        lengths = [len(truth) for truth in self.truth]
        right = [float((a == b).float().mean()) for a, b in zip(self.truth, self.predictions, strict=True)]
        columns = zip(self.labels, self.shape_mious, lengths, right, strict=True)
        rows = [[i, label, f"{iou:.6f}", n, f"{share:.6f}"] for i, (label, iou, n, share) in enumerate(columns)]
        run = RunFolder(folder)
        write_rows(run.predictions, ["index", "label", "miou", "points", "accuracy"], rows)
        flat = [held.flatten().half() for held in self.probabilities]
        tensors = {"parts": torch.cat(self.predictions).short(), "probabilities": torch.cat(flat)}
        with replacing(run.predicted_parts) as temporary:
            save_file({"lengths": torch.tensor(lengths), **tensors}, temporary)


class PartSegmentation(Task):
    """Negative log-likelihood of each point's part."""

    name, title, schema = "partseg", "part segmentation", PartSegmentationRun
    figures = {  # noqa: RUF012 - never changed
        "instance_miou": "instance mIoU",
        "class_miou": "class mIoU",
        "accuracy": "point accuracy",
    }

    def labels(self, dataset: PointCloudDataset) -> Labels:
        """Return the classes and their parts."""
        return Labels(dataset.class_names, dataset.parts)

    def loader(self, config: PartSegmentationRun, dataset: PointCloudDataset) -> Any:
        """Return batches of points, classes and parts."""
        return make_loader(
            dataset,
            points=config.points,
            batch_size=min(config.train.batch_size, len(dataset)),
            train=True,
            seed=config.seed,
            augmentation=config.augmentation,
            workers=config.train.workers,
            drop_last=True,  # a batch of one would stop a head with batch norm
            part_labels=True,
        )

    def inputs(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the points and the class, which the field gives to the model."""
        return batch["points"], batch["labels"]

    def loss(self, config: PartSegmentationRun, labels: Labels) -> Callable[[nn.Module, PartBatch], Tensors]:
        """Return the loss over the parts of all classes, and the accuracy among those of the cloud's class."""
        allowed = torch.from_numpy(labels.required_parts.mask)

        def of_batch(model: nn.Module, batch: PartBatch) -> Tensors:
            logits, truth = model(batch["points"], batch["labels"]), batch["part_labels"]
            absent = ~allowed.to(logits.device)[batch["labels"]][:, None]
            correct = logits.detach().masked_fill(absent, -torch.inf).argmax(dim=2) == truth
            return {"loss": F.cross_entropy(logits.flatten(0, 1), truth.flatten()), "accuracy": correct.float().mean()}

        return of_batch

    def evaluator(
        self, config: PartSegmentationRun, dataset: PointCloudDataset, accelerator: "Accelerator", *, votes: int = 0
    ) -> Callable[[nn.Module], PartEvaluation]:
        """Prepare the evaluation; what the model sees of a cloud does not depend on the run, but for votes."""
        names = self.labels(dataset)
        loader = evaluation_loader(config, dataset, votes=votes)
        answers = partial(_answers, names.required_parts, accelerator)
        answers_of = Evaluator(loader, answers, accelerator=accelerator, passes=max(votes, 1))

        def evaluate(model: nn.Module) -> PartEvaluation:
            scores, truth = zip(*answers_of(model), strict=True)
            return PartEvaluation(list(scores), list(truth), dataset.labels.tolist(), names)

        return evaluate


def _figures(scores: PartScores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in PartSegmentation.figures}


def evaluation_loader(config: PartSegmentationRun, dataset: PointCloudDataset, *, votes: int = 0) -> Any:
    """Return the test batches of a run's protocol.

    Args:
        config: The run.
        dataset: The shapes.
        votes: Augmented passes; 0 is one pass over the clouds as they are.
    """
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


def _answers(parts: Parts, accelerator: "Accelerator", model: Any, batch: Mapping[str, Tensor]) -> list[Answer]:
    """Label the points of each cloud in chunks of one size."""
    network, whole = accelerator.unwrap_model(model), "query" in batch
    query, truth = (batch["query"], batch["query_labels"]) if whole else (batch["points"], batch["part_labels"])
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
