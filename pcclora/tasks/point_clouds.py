"""What the tasks on point clouds share: how clouds are batched, and test scores by votes."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from pcclora.data import LabelledDataset, Loader, make_loader
from pcclora.data.features import width_of
from pcclora.engine.devices import Processes
from pcclora.tasks.base import Task
from pcclora.tasks.settings import PointCloudRun

CloudRun = TypeVar("CloudRun", bound=PointCloudRun)


class PointCloudTask(Task[CloudRun]):
    """A task whose samples are point clouds.

    Attributes:
        labels_points: Whether each point has a label, or the cloud has one.
    """

    holds = "point clouds"
    labels_points: ClassVar[bool] = False

    def loader(self, config: CloudRun, dataset: LabelledDataset) -> Loader:
        """Return the training batches."""
        return make_loader(
            dataset,
            points=config.points,
            batch_size=min(config.train.batch_size, len(dataset)),
            train=True,
            seed=config.seed,
            augmentation=config.augmentation,
            workers=config.train.workers,
            drop_last=True,  # a batch of one would stop a head with batch norm
            balanced=config.train.sampler == "balanced",
            part_labels=self.labels_points,
        )

    def example(self, config: CloudRun) -> dict[str, Tensor]:
        """Return a cloud at random."""
        width = 3 + width_of(config.data.features)
        cloud = torch.rand(1, config.points, width, generator=torch.Generator().manual_seed(0))
        return {"points": cloud, "labels": torch.zeros(1, dtype=torch.int64)}

    def protocol(self, config: CloudRun) -> dict[str, Any]:
        """Return augmentation, points, their features if they have any, and votes."""
        features = {"features": list(config.data.features)} if config.data.features else {}
        return {"augmentation": config.augmentation, "points": config.points, **features, "votes": config.votes}

    @abstractmethod
    def test_loader(self, config: CloudRun, dataset: LabelledDataset, *, votes: int = 0) -> Loader:
        """Return the test batches; a vote draws points and augmentation as training does."""

    def further_figures(
        self, config: CloudRun, dataset: LabelledDataset, accelerator: Processes, model: nn.Module
    ) -> dict[str, dict[str, float]]:
        """Return the figures of the votes, and the best of several draws of them."""
        if not config.votes:
            return {}
        draws = [replace(config, seed=config.seed + n) for n in range(max(config.best_of, 1))]
        voted = [self.evaluator(draw, dataset, accelerator, votes=config.votes)(model).metrics() for draw in draws]
        found = {f"votes_{config.votes}": voted[0]}
        if config.best_of:
            best = {name: max(held[name] for held in voted) for name in self.figures}
            found[f"votes_{config.votes}_best_of_{config.best_of}"] = best
        return found
