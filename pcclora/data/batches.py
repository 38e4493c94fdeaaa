"""What a loader yields: plain dicts of tensors, which accelerate moves and gathers."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor

from pcclora.data.base import FloatArray, IntArray

PADDING = -1
"""The query label of a row that only fills a batch up."""


class Cloud(NamedTuple):
    """One item of a loader, before it is batched.

    Attributes:
        points: (N, 3 + C) float32: places, and the features of the data set.
        label: Its class.
        row: Its place in the data set.
        part_labels: (N,) int64, if asked for.
        query: (M, 3) float32, the place of every stored point, if asked for.
        query_labels: (M,) int64, with them.
    """

    points: FloatArray
    label: int
    row: int
    part_labels: IntArray | None = None
    query: FloatArray | None = None
    query_labels: IntArray | None = None


class Batch(TypedDict):
    """What classification takes.

    Attributes:
        points: (B, N, 3 + C) float32: places, and the features of the data set.
        labels: (B,) int64.
        index: (B,) int64, each sample's place in its data set.
    """

    points: Tensor
    labels: Tensor
    index: Tensor


class PartBatch(Batch):
    """What part segmentation trains on.

    Attributes:
        part_labels: (B, N) int64, of the points.
    """

    part_labels: Tensor


class WholeBatch(PartBatch):
    """What part segmentation is tested on: beside the points of a batch, all that each cloud has.

    Attributes:
        query: (B, M, 3) float32: where every stored point is, augmented as ``points`` are. M is the longest cloud of
            the batch; a shorter one is filled up with its first point.
        query_labels: (B, M) int64; :data:`PADDING` where a cloud was filled up.
        lengths: (B,) int64, points of each cloud.
    """

    query: Tensor
    query_labels: Tensor
    lengths: Tensor


def collate(items: Sequence[Cloud]) -> Batch | PartBatch | WholeBatch:
    """Stack items, which all have the same fields, into a batch."""
    batch = Batch(
        points=torch.from_numpy(np.stack([item.points for item in items])),
        labels=torch.tensor([item.label for item in items], dtype=torch.int64),
        index=torch.tensor([item.row for item in items], dtype=torch.int64),
    )
    part_labels = [item.part_labels for item in items if item.part_labels is not None]
    queries = [item.query for item in items if item.query is not None]
    query_labels = [item.query_labels for item in items if item.query_labels is not None]
    if not part_labels:
        return batch
    parts = PartBatch(**batch, part_labels=torch.from_numpy(np.stack(part_labels)))
    if not queries:
        return parts
    lengths = [len(query) for query in queries]
    query = np.stack([[cloud[0]] for cloud in queries]).repeat(max(lengths), axis=1)
    labels = np.full(query.shape[:2], PADDING, np.int64)
    for row, length in enumerate(lengths):
        query[row, :length], labels[row, :length] = queries[row], query_labels[row]
    return WholeBatch(
        **parts, query=torch.from_numpy(query), query_labels=torch.from_numpy(labels), lengths=torch.tensor(lengths)
    )
