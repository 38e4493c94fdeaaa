"""Batches of images whose order and augmentation depend on the seed, the epoch and the sample alone."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypedDict, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pcclora.data.base import ByteArray, LabelledDataset
from pcclora.data.image_transforms import Frame, find_image_preset, mirror
from pcclora.data.loader import Loader, epoch_loader
from pcclora.data.transforms import Draw, stream
from pcclora.errors import PccloraError

KEPT_BYTES = 512 * 2**20
"""Memory that fitted images may take, all processes of a loader together; more are decoded in every epoch."""


class Picture(NamedTuple):
    """One item of a loader, before it is batched: pixels (S, S, 3) uint8, its class, its place in the data set."""

    pixels: ByteArray
    label: int
    row: int


class ImageBatch(TypedDict):
    """What image classification takes.

    Attributes:
        images: (B, 3, S, S) float32, normalised.
        labels: (B,) int64.
        index: (B,) int64, each sample's place in its data set.
    """

    images: Tensor
    labels: Tensor
    index: Tensor


class Pictures(Dataset[Picture]):
    """What a loader's workers read, by (epoch, index).

    Args:
        dataset: Where images come from.
        frame: What the model wants to see.
        seed: Decides the augmentation, with epoch and index.
        augmentation: Name of a preset.
        train: Whether the preset's training or its test side is applied.
        keep: Keep fitted images in memory, where nothing in the fit is drawn.
    """

    def __init__(
        self, dataset: LabelledDataset, *, frame: Frame, seed: int, augmentation: str, train: bool, keep: bool
    ) -> None:
        preset = find_image_preset(augmentation)
        self.dataset, self.seed = dataset, seed
        self.frame = Frame(frame.size, frame.interpolation, preset.crop or frame.crop)
        self.fit, self.flip = (preset.train, preset.flip) if train else (preset.test, False)
        keep = keep and not (train and preset.random_fit)
        # one array: kept one by one they would lie scattered between the tensors of a training and hold up gigabytes
        self._kept = np.empty((len(dataset) if keep else 0, frame.size, frame.size, 3), np.uint8)
        self._held = np.zeros(len(self._kept), np.bool_)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Picture:
        epoch, index = key
        draw = stream(self.seed, epoch, index, 1)
        mirrored = self.flip and draw(1)[0] < 0.5
        pixels = self._fitted(index, draw)
        return Picture(mirror(pixels) if mirrored else pixels, int(self.dataset.labels[index]), index)

    def _fitted(self, index: int, draw: Draw) -> ByteArray:
        if len(self._held) and self._held[index]:
            return cast("ByteArray", self._kept[index])
        pixels = np.asarray(self.fit(Image.fromarray(self.dataset[index].pixels), self.frame, draw))
        if len(self._held):
            self._kept[index], self._held[index] = pixels, True
        return pixels


def make_image_loader(
    dataset: LabelledDataset,
    *,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    interpolation: str,
    crop: float,
    batch_size: int,
    train: bool,
    seed: int = 0,
    augmentation: str = "none",
    workers: int = 0,
    drop_last: bool = False,
    balanced: bool = False,
) -> Loader:
    """Build a loader. :func:`pcclora.data.set_epoch` chooses what the next pass draws.

    Where the fit into the square draws nothing, fitted images are decoded once and kept, if all of them take
    512 MiB at most.

    Args:
        dataset: Images of any size.
        size: Side S of the images of a batch, in pixels.
        mean: Of the three channels, in fractions of 1; it is subtracted.
        std: Of the three channels, in fractions of 1; it is divided by.
        interpolation: ``"bicubic"``, ``"bilinear"`` or ``"nearest"``; Pillow's, which smooths when it shrinks.
        crop: Share of the shorter side that presets with a crop keep.
        batch_size: Images in a batch (for each process under ``accelerate launch``).
        train: Shuffle, and augment anew in every epoch. False: the stored order, nothing random.
        seed: Decides order and augmentation.
        augmentation: A name of :data:`pcclora.data.IMAGE_PRESETS`; it has a side for tests as well.
        workers: Processes that load; it changes the speed and nothing else.
        drop_last: Leave out the last batch when it is smaller.
        balanced: Show each class as often as any other.

    Returns:
        A loader of :class:`ImageBatch` dicts. It draws nothing from torch's global random state, and it can be passed
        to ``Accelerator.prepare``.

    Raises:
        PccloraError: If an argument, or the first image, cannot be used.
    """
    if dataset.holds != "images":
        raise PccloraError(f"{dataset.name}: holds {dataset.holds}; images are needed here")
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise PccloraError(f"mean {tuple(mean)} and std {tuple(std)}: three numbers each, std above 0, are needed")
    kept = len(dataset) * size**2 * 3 * max(workers, 1)
    pictures = Pictures(
        dataset,
        frame=Frame(size, interpolation, crop),
        seed=seed,
        augmentation=augmentation,
        train=train,
        keep=kept <= KEPT_BYTES,
    )
    return epoch_loader(
        pictures,
        dataset,
        partial(collate_images, mean=tuple(mean), std=tuple(std)),
        batch_size=batch_size,
        train=train,
        seed=seed,
        workers=workers,
        drop_last=drop_last,
        balanced=balanced,
    )


def collate_images(items: Sequence[Picture], *, mean: Sequence[float], std: Sequence[float]) -> ImageBatch:
    """Stack pictures, and normalise them as torchvision does: bytes to fractions of 1, minus mean, over std."""
    pixels = torch.from_numpy(np.stack([item.pixels for item in items])).permute(0, 3, 1, 2)
    images = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    shift, scale = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (mean, std))
    images.sub_(shift).div_(scale)
    return ImageBatch(
        images=images,
        labels=torch.tensor([item.label for item in items], dtype=torch.int64),
        index=torch.tensor([item.row for item in items], dtype=torch.int64),
    )
