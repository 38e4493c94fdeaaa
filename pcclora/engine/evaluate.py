"""Evaluation: every sample once, whatever the number of processes, and the same logits for each of them.

accelerate evens out the processes by repeating samples and ``gather_for_metrics`` drops as many at the end; here each
row carries its index in the data set and goes to that place, so that order and repetition cannot matter. Batches have
one fixed size, because a matrix product may round differently with another number of rows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.data import PointCloudDataset, make_loader, set_epoch
from pcclora.metrics.accuracy import accuracy, confusion_matrix, mean_class_accuracy

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Evaluation:
    """Logits of a whole data set, in its order.

    Attributes:
        logits: (N, C) float32, on the CPU.
        labels: (N,) int64.
    """

    logits: Tensor
    labels: Tensor

    @property
    def predictions(self) -> Tensor:
        """(N,) int64, the class of the largest logit."""
        return self.logits.argmax(dim=1)

    @property
    def confidences(self) -> Tensor:
        """(N,) float32, the probability of the predicted class."""
        return self.logits.softmax(dim=1).amax(dim=1)

    def metrics(self) -> dict[str, float]:
        """Return ``loss`` (cross-entropy), ``accuracy`` and ``mean_class_accuracy``, the latter two from 0 to 1."""
        classes = self.logits.shape[1]
        confusion = confusion_matrix(self.labels.numpy(), self.predictions.numpy(), num_classes=classes)
        loss = F.cross_entropy(self.logits, self.labels).item()
        return {"loss": loss, "accuracy": accuracy(confusion), "mean_class_accuracy": mean_class_accuracy(confusion)}


class Evaluator:
    """Runs a classifier over one data set.

    Args:
        dataset: The samples.
        points: Points of a cloud that the model sees.
        batch_size: Samples a batch, on each process.
        accelerator: From :func:`~pcclora.engine.environment.make_accelerator`.
        workers: Loader processes.
        votes: Augmented passes whose logits are averaged; 0 is one pass over the clouds as they are.
        augmentation: Preset of the run; without votes only what it does to test clouds.
        seed: Seed of the votes.
    """

    def __init__(
        self,
        dataset: PointCloudDataset,
        *,
        points: int,
        batch_size: int,
        accelerator: "Accelerator",
        workers: int = 0,
        votes: int = 0,
        augmentation: str = "none",
        seed: int = 0,
    ) -> None:
        self.labels = torch.from_numpy(dataset.labels).clone()
        self.batch_size, self.votes, self.accelerator = batch_size, votes, accelerator
        loader = make_loader(
            dataset,
            points=points,
            batch_size=batch_size,
            train=False,
            seed=seed,
            augmentation=augmentation,
            workers=workers,
            vote=votes > 0,
        )
        self.loader: Any = accelerator.prepare_data_loader(loader)

    def __call__(self, model: nn.Module) -> Evaluation:
        """Evaluate in eval mode; the model's mode is put back.

        Args:
            model: points (B, N, 3) -> logits (B, C); prepared by accelerate or plain, on the accelerator's device.
        """
        was_training = model.training
        model.eval()
        passes = [self._logits(model, vote) for vote in range(max(self.votes, 1))]
        model.train(was_training)
        return Evaluation(torch.stack(passes).mean(dim=0) if len(passes) > 1 else passes[0], self.labels)

    @torch.no_grad()
    def _logits(self, model: nn.Module, vote: int) -> Tensor:
        set_epoch(self.loader, vote)
        rows: list[Tensor] = []
        places: list[Tensor] = []
        for batch in self.loader:
            points, index = _fill(batch["points"], self.batch_size), _fill(batch["index"], self.batch_size)
            logits, index = self.accelerator.gather((model(points).float(), index))
            rows.append(logits.cpu())
            places.append(index.cpu())
        index, found = torch.cat(places), torch.cat(rows)
        out = torch.full((len(self.labels), found.shape[1]), torch.nan)
        out[index] = found
        return out


def _fill(x: Tensor, size: int) -> Tensor:
    """Repeat rows of a short last batch up to ``size``."""
    return x if len(x) == size else x[torch.arange(size, device=x.device) % len(x)]
