"""The task ``image``: one class an image.

Size, mean and standard deviation, interpolation and crop are those that the backbone was trained with, as timm's own
configuration has them; ``normalization`` replaces mean and standard deviation by a choice that is then written down:
papers that adapt the same ViT differ in it and seldom say so.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from pcclora.data import LabelledDataset, Loader, make_image_loader
from pcclora.models.images.configs import image_input
from pcclora.tasks.classification import ClassTask
from pcclora.tasks.settings import ImageRun, PretrainRun


class ImageClassification(ClassTask[ImageRun]):
    """One class an image."""

    name, title, schema, holds = "image", "image classification", ImageRun, "images"
    tool = "pcclora train-image"

    def inputs(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the images."""
        return (batch["images"],)

    def loader(self, config: ImageRun, dataset: LabelledDataset) -> Loader:
        """Return the training batches; a smaller last one is left out, as PEFT's loaders on VTAB do."""
        balanced = config.train.sampler == "balanced"
        return image_loader(config, dataset, train=True, normalization=config.normalization, balanced=balanced)

    def test_loader(self, config: ImageRun, dataset: LabelledDataset, *, votes: int = 0) -> Loader:
        """Return the test batches; an image is tested once, so there are no votes."""
        return image_loader(config, dataset, train=False, normalization=config.normalization)

    def example(self, config: ImageRun) -> dict[str, Tensor]:
        """Return an image at random."""
        S = image_input(config.model).size
        return {"images": torch.rand(1, 3, S, S, generator=torch.Generator().manual_seed(0))}

    def protocol(self, config: ImageRun) -> dict[str, Any]:
        """Return augmentation, and what the image looks like to the model."""
        expected = image_input(config.model, normalization=config.normalization)
        return {
            "augmentation": config.augmentation,
            "size": expected.size,
            "interpolation": expected.interpolation,
            "crop": expected.crop,
            "normalization": config.normalization,
            "mean": list(expected.mean),
            "std": list(expected.std),
        }


def image_loader(
    config: ImageRun | PretrainRun,
    dataset: LabelledDataset,
    *,
    train: bool,
    normalization: str = "model",
    balanced: bool = False,
) -> Loader:
    """Return the batches of a run on images.

    Args:
        config: Its model, batch size, seed, augmentation and workers.
        dataset: The images.
        train: Shuffled and augmented, without a smaller last batch.
        normalization: Of :func:`~pcclora.models.images.configs.image_input`.
        balanced: Show each class as often as any other.
    """
    return make_image_loader(
        dataset,
        **asdict(image_input(config.model, normalization=normalization)),
        batch_size=min(config.train.batch_size, len(dataset)),
        train=train,
        seed=config.seed,
        augmentation=config.augmentation,
        workers=config.train.workers,
        drop_last=train,
        balanced=balanced,
    )
