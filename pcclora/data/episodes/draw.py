"""Few-shot episodes of any data set: ``way`` classes, ``shot`` objects of each to learn from, ``query`` to classify.

The protocol of Sharma and Kaul (arXiv 2009.14168) and Point-BERT (arXiv 2111.14819): classes and objects at random,
support from the training split and queries from the test split. An episode is a pure function of (seed, fold), on every
platform. Episodes of one (seed, fold) are nested: more ways, shots or queries add classes and objects and change none,
as long as the classes are large enough for both.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pcclora.data.base import IntArray, LabelledDataset, Parts, Subset
from pcclora.data.transforms import stream
from pcclora.errors import PccloraError

RECORD_KEYS = tuple("source seed fold way shot queries classes class_names support_indices query_indices".split())


@dataclass(frozen=True)
class Episode:
    """One fold: what is learnt from, what is asked, and where both come from.

    Attributes:
        support: way x shot objects with the labels 0..way-1, class after class; a loader takes it as it is.
        query: The objects that are asked about, with the same labels.
        way: Number of classes.
        shot: Support objects of each class.
        queries: Query objects of each class.
        seed: What it was drawn from, or None for a file that does not say it.
        fold: Which of the seed's episodes.
        source: The data set's name, or the file.
        classes: The data set's own label of each class.
        support_indices: Places of the support objects in their data set.
        query_indices: Places of the query objects in theirs.
    """

    support: LabelledDataset
    query: LabelledDataset
    way: int
    shot: int
    queries: int
    seed: int | None
    fold: int
    source: str
    classes: tuple[int, ...]
    support_indices: tuple[int, ...]
    query_indices: tuple[int, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name a class; a label of the episode indexes it."""
        return self.support.class_names

    def record(self) -> dict[str, Any]:
        """Return all but the clouds, as JSON can hold it."""
        values = {key: getattr(self, key) for key in RECORD_KEYS}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


class EpisodeSplit(Subset):
    """A view on some objects of a data set under the labels 0..way-1.

    Args:
        dataset: The whole.
        indices: Which objects.
        classes: The whole's label of each class of the episode; the objects are of these.
        split: ``"support"`` or ``"query"``.
    """

    def __init__(self, dataset: LabelledDataset, indices: Sequence[int], classes: Sequence[int], *, split: str):
        super().__init__(dataset, indices, split=split)
        places = {label: place for place, label in enumerate(classes)}
        self.labels = np.array([places[int(label)] for label in self.labels], dtype=np.int64)
        self.class_names = tuple(dataset.class_names[label] for label in classes)
        if dataset.parts is not None:
            self.parts = Parts(dataset.parts.names, tuple(dataset.parts.of_class[label] for label in classes))

    def __getitem__(self, index: int) -> Any:
        return replace(super().__getitem__(index), label=int(self.labels[index]))


def make_episode(
    train: LabelledDataset,
    test: LabelledDataset | None,
    *,
    way: int = 5,
    shot: int = 10,
    query: int = 20,
    seed: int = 0,
    fold: int = 0,
) -> Episode:
    """Draw an episode among the classes that have enough objects.

    Args:
        train: Where the support comes from.
        test: Where the queries come from. None for a data set without a test split: they come from ``train`` as well,
            and no object is on both sides.
        way: Number of classes.
        shot: Support objects of each class.
        query: Query objects of each class; the literature has 20.
        seed: Another seed, other episodes.
        fold: Which episode of the seed; the literature averages over folds 0..9.

    Raises:
        PccloraError: If too few classes have enough objects, or the splits share objects or differ in their classes.
    """
    for name, value, least in (
        ("way", way, 2),
        ("shot", shot, 1),
        ("query", query, 1),
        ("seed", seed, 0),
        ("fold", fold, 0),
    ):
        if value < least:
            raise PccloraError(f"make_episode: {name} is {value}; at least {least} is needed")
    asked = train if test is None else test
    if test is not None:
        _refuse_leak(train, test)
    enough = _large_classes(train, test, way, shot, query)
    order = stream(seed, fold, 0)(len(train.class_names))
    classes = sorted(enough, key=lambda label: (order[label], label))[:way]
    support, queries = [], []
    for label in classes:
        drawn = _shuffled(asked, label, seed, fold, 1)
        queries += drawn[:query]
        support += (drawn[::-1] if test is None else _shuffled(train, label, seed, fold, 2))[:shot]
    return Episode(
        support=EpisodeSplit(train, support, classes, split="support"),
        query=EpisodeSplit(asked, queries, classes, split="query"),
        way=way,
        shot=shot,
        queries=query,
        seed=seed,
        fold=fold,
        source=train.name,
        classes=tuple(classes),
        support_indices=tuple(support),
        query_indices=tuple(queries),
    )


def most_queries(train: LabelledDataset, test: LabelledDataset | None, *, shot: int) -> dict[str, int]:
    """Return class -> how many of its objects can be asked about, of the classes with support and one such at least.

    Args:
        train: Where the support comes from.
        test: Where the queries come from; None: from ``train`` as well.
        shot: Support objects of each class.
    """
    have = np.bincount(train.labels, minlength=len(train.class_names))
    left = have - shot
    if test is not None:
        left = np.where(left >= 0, np.bincount(test.labels, minlength=len(have)), 0)
    return {name: int(count) for name, count in zip(train.class_names, left, strict=True) if count > 0}


def episodes_digest(episodes: Sequence[Episode]) -> str:
    """Return the SHA-256 of the episodes' records: two runs that state the same one had the same folds."""
    records = [episode.record() for episode in episodes]
    return hashlib.sha256(json.dumps(records, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _shuffled(dataset: LabelledDataset, label: int, seed: int, fold: int, side: int) -> list[int]:
    """Return the places of a class in a random order that depends on no other class."""
    members = np.flatnonzero(dataset.labels == label)
    keys = stream(seed, fold, side, label)(len(members))
    return [int(index) for index in members[np.argsort(keys, kind="stable")]]


def _large_classes(train: LabelledDataset, test: LabelledDataset | None, way: int, shot: int, query: int) -> list[int]:
    names = train.class_names
    if len(names) < way:
        raise PccloraError(f"{train.name}: {way} ways are asked for, the data set has {len(names)} classes")
    have = np.bincount(train.labels, minlength=len(names))
    if test is None:
        spare, sides, counts = have - shot - query, f"{shot} + {query} objects", have[:, None]
    else:
        ask = np.bincount(test.labels, minlength=len(names))
        spare, counts = np.minimum(have - shot, ask - query), np.stack([have, ask], axis=1)
        sides = f"{shot} objects in '{train.split}' and {query} in '{test.split}'"
    enough = np.flatnonzero(spare >= 0)
    if len(enough) < way:
        nearest = int(np.where(spare < 0, spare, spare.min() - 1).argmax())
        raise PccloraError(
            f"{train.name}: {way} ways are asked for, {len(enough)} of {len(names)} classes have {sides} (the next, "
            f"'{names[nearest]}', has {' and '.join(map(str, counts[nearest]))}); lower way, shot or query"
        )
    return [int(label) for label in enough]


def _refuse_leak(train: LabelledDataset, test: LabelledDataset) -> None:
    if train.class_names != test.class_names:
        raise PccloraError(f"{train.name}: '{train.split}' and '{test.split}' have different classes")
    (whole, learnt), (other, asked) = _origin(train), _origin(test)
    if _are_one(whole, other) and (shared := len(np.intersect1d(learnt, asked))):
        raise PccloraError(
            f"{train.name}: {shared} objects of '{train.split}' are in '{test.split}' as well; pass another test "
            "split, or None to draw support and queries from one set without a common object"
        )


def _origin(dataset: LabelledDataset) -> tuple[LabelledDataset, IntArray]:
    """Return the data set that a view of views looks at, and the places in it."""
    whole, indices = dataset, np.arange(len(dataset))
    while isinstance(whole, Subset):
        indices, whole = whole.indices[indices], whole.dataset
    return whole, indices


def _are_one(first: LabelledDataset, second: LabelledDataset) -> bool:
    """Whether two data sets are one, or one opened twice."""
    if first is second or not (len(first) and len(second)):
        return first is second
    alike = (first.name, first.split) == (second.name, second.split) and np.array_equal(first.labels, second.labels)
    return alike and np.array_equal(first[0].points, second[0].points)
