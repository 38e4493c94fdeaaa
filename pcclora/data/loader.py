"""Batches whose order, points and augmentation depend on the seed, the epoch and the sample alone.

The sampler yields (epoch, index) pairs, so a worker needs no state: results are the same for every number of workers,
with persistent workers, after a resume, and under ``accelerate launch``.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from pcclora.data.base import IntArray, LabelledDataset
from pcclora.data.batches import collate
from pcclora.data.clouds import Clouds, Sampling
from pcclora.data.transforms import find_presets, stream
from pcclora.errors import PccloraError


class Items(Protocol):
    """What the workers of a loader read: one item for each (epoch, index).

    Attributes:
        dataset: Where they come from.
    """

    dataset: LabelledDataset

    def __len__(self) -> int: ...

    def __getitem__(self, key: tuple[int, int]) -> Any: ...  # a named tuple of its own kind


class Loader(Protocol):
    """What a run asks of its batches: a ``DataLoader`` of items by (epoch, index).

    Attributes:
        batch_size: Samples in a batch.
        dataset: The items; how many there are, and the data set that they come from.
        sampler: Their order, an :class:`EpochSampler`.
        drop_last: Whether a smaller last batch is left out.
        collate_fn: Makes a batch of items.
    """

    batch_size: int
    dataset: Items
    sampler: "EpochSampler"
    drop_last: bool
    collate_fn: Callable[[list[Any]], Mapping[str, Tensor]]

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]: ...

    def __len__(self) -> int: ...


class EpochSampler(Sampler[tuple[int, int]]):
    """Every sample once, as (epoch, index), in an order that is a pure function of seed and epoch.

    Args:
        length: Number of samples.
        shuffle: False keeps the order of the data set.
        seed: Another seed, another order.
        views: Epochs after which the pairs' first numbers begin anew; 0: never.
        labels: (length,) the class of each sample, where each class is to come as often as any other: those of a small
            one several times, each time with a first number of its own, of a large one some, in each epoch others.
    """

    def __init__(
        self, length: int, *, shuffle: bool, seed: int, views: int = 0, labels: IntArray | None = None
    ) -> None:
        self.length, self.shuffle, self.seed, self.views, self.labels = length, shuffle, seed, views, labels
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass. Without it every pass is the same."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, order = self.epoch, np.arange(self.length)
        if self.shuffle:
            order = np.argsort(stream(self.seed, epoch, 0, 2)(self.length), kind="stable")
        view = epoch % self.views if self.views else epoch
        if self.labels is None:
            return ((view, int(index)) for index in order)
        times, indices = _in_equal_shares(self.labels, self.seed, epoch)
        first = view * _most_times(self.labels)  # no two epochs share a number, so a repeat is another draw
        return ((first + int(times[place]), int(indices[place])) for place in order)


def _in_equal_shares(labels: IntArray, seed: int, epoch: int) -> tuple[IntArray, IntArray]:
    """Return as many samples as there are, of each class as many as of any other: how often before, and which."""
    classes = np.unique(labels)
    share, over = divmod(len(labels), len(classes))
    one_more = classes[np.argsort(stream(seed, epoch, 0, 3)(len(classes)))[:over]]
    times, indices = [], []
    for label in classes:
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(stream(seed, epoch, int(label), 4)(len(members)), kind="stable")]
        places = np.arange(share + int(label in one_more))
        times.append(places // len(members))
        indices.append(members[places % len(members)])
    return np.concatenate(times), np.concatenate(indices)


def _most_times(labels: IntArray) -> int:
    counts = np.unique(labels, return_counts=True)[1]
    return math.ceil(math.ceil(len(labels) / len(counts)) / int(counts.min()))


def make_loader(
    dataset: LabelledDataset,
    *,
    points: int,
    batch_size: int,
    train: bool,
    seed: int = 0,
    augmentation: str = "none",
    workers: int = 0,
    drop_last: bool = False,
    sampling: Sampling | None = None,
    vote: bool = False,
    strict: bool = False,
    views: int = 0,
    balanced: bool = False,
    part_labels: bool = False,
    whole: bool = False,
) -> Loader:
    """Build a loader. :func:`set_epoch` chooses what the next pass draws.

    Args:
        dataset: What to load.
        points: Points of each cloud in a batch.
        batch_size: Clouds in a batch (for each process under ``accelerate launch``).
        train: Shuffle, augment, and draw the points anew in every epoch. False: the stored order, fixed points.
        seed: Decides order, points and augmentation.
        augmentation: A name of :data:`pcclora.data.PRESETS`, or several joined by ``+``.
        workers: Processes that load; it changes the speed and nothing else.
        drop_last: Leave out the last batch when it is smaller.
        sampling: Which of the stored points. ``"random"``: any of them (default in training). ``"fps"``: the exact
            farthest-point sample (default in testing). ``"first"``: the first ones, for files stored in
            farthest-point order (default in testing where the data set says it is so). In training the last two
            choose 1200 / 1024 times as many, and a random subset of these: Point-MAE's protocol.
        vote: With ``train=False``: draw points and augmentation as in training, in the stored order.
        strict: Refuse a cloud of too few points; else points are repeated, with one warning.
        views: With ``train=True``: how many draws of points and augmentation each cloud has, shown in turn, one an
            epoch. 0: a new one in every epoch.
        balanced: Show each class as often as any other; see :class:`EpochSampler`.
        part_labels: Give the part of each point: :class:`PartBatch`.
        whole: Give also every stored point, in one transform with those chosen of them: :class:`WholeBatch`.

    Returns:
        A loader of :class:`Batch` dicts. It draws nothing from torch's global random state, and it can be passed to
        ``Accelerator.prepare``.

    Raises:
        PccloraError: If an argument, or under ``strict`` a cloud, cannot be used.
    """
    if dataset.holds != "point clouds":
        raise PccloraError(f"{dataset.name}: holds {dataset.holds}; point clouds are needed here")
    presets = find_presets(augmentation)
    for name, value, least in (("points", points, 1), ("views", views, 0)):
        if value < least:
            raise PccloraError(f"make_loader: {name} is {value}; at least {least} is needed")
    if sampling not in (None, *get_args(Sampling)):
        raise PccloraError(f"make_loader: sampling is '{sampling}'; choose one of {', '.join(get_args(Sampling))}")
    if part_labels or whole:
        _check_parts(dataset, augmentation, all(preset.keeps_points for preset in presets))
    fixed: Sampling = "first" if dataset.fps_ordered else "fps"
    clouds = Clouds(
        dataset,
        points=points,
        seed=seed,
        augmentation=augmentation,
        sampling=sampling or ("random" if train else fixed),
        redraw=train or vote,
        strict=strict,
        part_labels=part_labels,
        whole=whole,
    )
    return epoch_loader(
        clouds,
        dataset,
        collate,
        batch_size=batch_size,
        train=train,
        seed=seed,
        workers=workers,
        drop_last=drop_last,
        views=views,
        balanced=balanced,
    )


def epoch_loader(
    items: Items,
    dataset: LabelledDataset,
    collate_fn: Callable[[list[Any]], Any],
    *,
    batch_size: int,
    train: bool,
    seed: int,
    workers: int,
    drop_last: bool,
    views: int = 0,
    balanced: bool = False,
) -> Loader:
    """Put a loader over items that are read by (epoch, index); what :func:`make_loader` and its like end with.

    Args:
        items: What the workers read.
        dataset: Where the items come from.
        collate_fn: Makes a batch of items.
        batch_size: Items in a batch.
        train: Shuffle.
        seed: Decides the order.
        workers: Processes that load.
        drop_last: Leave out the last batch when it is smaller.
        views: See :func:`make_loader`.
        balanced: See :func:`make_loader`.

    Raises:
        PccloraError: If a number is too small, there are no samples, or the first of them cannot be read.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("workers", workers, 0)):
        if value < least:
            raise PccloraError(f"{name} is {value}; at least {least} is needed")
    if not len(dataset):
        raise PccloraError(f"{dataset.name}: split '{dataset.split}' has no samples")
    labels = dataset.labels if balanced else None
    items[0, 0]  # too few points, or a file that cannot be read, shows here and not in a worker
    loader: DataLoader[object] = DataLoader(
        items,  # type: ignore[arg-type]  # a map from (epoch, index), which is what the sampler yields
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), shuffle=train, seed=seed, views=views, labels=labels),
        drop_last=drop_last,
        num_workers=workers,
        collate_fn=collate_fn,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each pass draws from the global state, and the more so without workers
    )
    return cast("Loader", loader)


def _check_parts(dataset: LabelledDataset, augmentation: str, keeps_points: bool) -> None:
    if dataset.parts is None:
        raise PccloraError(
            f"{dataset.name}: has no part labels, or does not say which parts a class has; part segmentation needs "
            "shapenetpart, part_folder, procedural, or partseg_h5 with a seg_classes.json"
        )
    if not keeps_points:
        raise PccloraError(
            f"augmentation '{augmentation}' puts points in the place of others; their part is not theirs"
        )


def set_epoch(loader: Any, epoch: int) -> None:
    """Choose the epoch (or vote) that the next pass over a loader draws.

    Args:
        loader: From :func:`make_loader` or its like, as it is or prepared by accelerate (sharded, or with skipped
            batches).
        epoch: From 0.

    Raises:
        PccloraError: If the loader is none of ours.
    """
    if hasattr(loader, "iteration"):  # accelerate's loaders count passes, and set this on their sampler at each start
        loader.iteration = epoch
    sampler = loader.batch_sampler
    while not isinstance(sampler, EpochSampler):
        sampler = getattr(sampler, "sampler", None) or getattr(sampler, "batch_sampler", None)
        if sampler is None:
            raise PccloraError("set_epoch: this loader has no EpochSampler; build it with make_loader")
    sampler.set_epoch(epoch)
