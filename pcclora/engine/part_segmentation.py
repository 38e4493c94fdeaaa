"""The task ``partseg``: one part a point, among the parts of the cloud's class.

The model sees ``points`` of a cloud and labels any point of it by its own interpolation from the centres, so that a
test cloud of any size is scored on all of its points. A prediction is the best part of the cloud's class; both mIoUs
are of the same predictions.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.data import LabelledDataset, PartBatch, Parts, make_loader
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.evaluate import Answer, Evaluator
from pcclora.engine.part_evaluation import FIGURES, PartEvaluation
from pcclora.engine.point_clouds import PointCloudTask
from pcclora.engine.settings import PartSegmentationRun
from pcclora.engine.task import Labels

if TYPE_CHECKING:
    from accelerate import Accelerator

CHUNK = 1024
"""Points that are decoded at once: always as many, because a product may round differently with another number."""


class PartSegmentation(PointCloudTask):
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

    def loss(self, config: PartSegmentationRun, labels: Labels) -> Callable[[nn.Module, PartBatch], Tensors]:
        """Return the loss over the parts of all classes, and the accuracy among those of the cloud's class."""
        allowed = torch.from_numpy(labels.required_parts.mask)

        def of_batch(model: nn.Module, batch: PartBatch) -> Tensors:
            logits, truth = model(batch["points"], batch["labels"]), batch["part_labels"]
            absent = ~allowed.to(logits.device)[batch["labels"]][:, None]
            correct = logits.detach().masked_fill(absent, -torch.inf).argmax(dim=2) == truth
            return {"loss": F.cross_entropy(logits.flatten(0, 1), truth.flatten()), "accuracy": correct.float().mean()}

        return of_batch

    def test_loader(self, config: PartSegmentationRun, dataset: LabelledDataset, *, votes: int = 0) -> Any:
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
        self, config: PartSegmentationRun, dataset: LabelledDataset, accelerator: "Accelerator", *, votes: int = 0
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
