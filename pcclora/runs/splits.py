"""Which samples a run trains on, looks at meanwhile, and is tested on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcclora.data import LabelledDataset, Subset, stratified_split
from pcclora.engine.data_record import FILE, DataRecord, refuse_changes, restore, unseen, warn_of_shared
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.registry import DATASETS
from pcclora.tasks.registry import check_kind, task_of
from pcclora.tasks.settings import AdaptationRun


@dataclass(frozen=True)
class Splits:
    """The data of a run.

    Attributes:
        train: What is trained on.
        watched: What the curves, and perhaps the selection, are made on: the validation part or the test set.
        test: The test set.
    """

    train: LabelledDataset
    watched: LabelledDataset
    test: LabelledDataset

    @property
    def sides(self) -> dict[str, LabelledDataset]:
        """The data sets by what they are for: ``train``, ``validation`` if there is one, ``test``."""
        held = {} if self.watched is self.test else {"validation": self.watched}
        return {"train": self.train, **held, "test": self.test}

    @classmethod
    def of_sides(cls, sides: dict[str, LabelledDataset]) -> "Splits":
        """Read what :attr:`sides` gave."""
        return cls(sides["train"], sides.get("validation", sides["test"]), sides["test"])


def load_splits(config: AdaptationRun) -> Splits:
    """Load the data sets that a run's selection asks for.

    Raises:
        PccloraError: If they cannot be read, or disagree about the classes.
    """
    train, test = (DATASETS.build(config.data, split=split) for split in ("train", "test"))
    check_kind(task_of(config), f"data set '{train.name}'", train.holds)
    if (train.class_names, train.parts) != (test.class_names, test.parts):
        raise PccloraError(f"{train.name}: training and test set have different classes or parts")
    _say_what_is_odd(train, test, config)
    if config.selection != "validation":
        return Splits(train, test, test)
    kept, held_out = stratified_split(train.labels, config.validation_fraction, config.seed)
    watched = Subset(train, held_out, split="validation")
    return Splits(Subset(train, kept, split="train"), watched, test)


def recorded_splits(splits: Splits, output: Path, *, resume: bool) -> tuple[Splits, DataRecord]:
    """Return the data of a run as it was begun, and their record.

    Args:
        splits: From :func:`load_splits`: what is there now.
        output: The run's folder.
        resume: Whether it was begun before; else it is compared with its siblings, if it is one of several seeds.

    Raises:
        PccloraError: If the data are not those that it, or another seed of it, was begun with.
    """
    now = DataRecord.of(splits.sides)
    warn_of_shared(now.trained_on, now.sides["test"], place=splits.test.name)
    if not resume:
        siblings = sorted(output.parent.glob(f"seed_*/{FILE}")) if output.name.startswith("seed_") else []
        if siblings:
            refuse_changes(_pooled(DataRecord.read(siblings[0])), _pooled(now), output.parent)
        return splits, now
    then = read_record(output)
    if then is None:
        return splits, now
    return Splits.of_sides(restore(then, now, splits.sides, place=output)), then


def read_record(folder: Path) -> DataRecord | None:
    """Return the record of a run's data, or None, said, for a run of a version that wrote none.

    Raises:
        PccloraError: If it is damaged.
    """
    if (folder / FILE).exists():
        return DataRecord.read(folder / FILE)
    logger.warning("%s: an earlier version wrote no %s: whether these are its data is not checked", folder, FILE)
    return None


def open_side(config: AdaptationRun, folder: Path, split: str = "test") -> LabelledDataset:
    """Return one side of a finished run's own data, with just the objects that it had.

    Args:
        config: The run, its data as they were.
        folder: Its folder.
        split: ``train``, ``validation`` or ``test``; another split of the data set is opened as it is.

    Raises:
        PccloraError: If an object of that side is gone or changed, or the classes are others.
    """
    then = read_record(folder)
    if then is None or split not in then.sides:
        dataset: LabelledDataset = DATASETS.build(config.data, split=split)
        return dataset
    if split != "validation":  # what has not changed needs no look at the other sides
        here: LabelledDataset = DATASETS.build(config.data, split=split)
        now = DataRecord.of({split: here})
        if now == DataRecord(then.class_names, then.parts, {split: then.sides[split]}):
            return here
    sides = load_splits(config).sides
    return restore(then, DataRecord.of(sides), sides, place=folder, only=(split,))[split]


def holds_side(config: AdaptationRun, folder: Path, split: str) -> bool:
    """Return whether data elsewhere hold every object of a side of a run, as where its folder has moved and grown.

    Args:
        config: The run, its data elsewhere.
        folder: Its folder.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        PccloraError: If the data cannot be read.
    """
    if config.data.split_seed is None or not (folder / FILE).exists():
        return False  # what is not split here has the same sides wherever it lies
    wanted = DataRecord.read(folder / FILE).sides.get(split, ())
    sides = load_splits(config).sides
    names = {name for held in sides.values() for name in held.names}
    if not wanted or not names.issuperset(o.name for o in wanted):
        return False
    return {o for objects in DataRecord.of(sides).sides.values() for o in objects}.issuperset(wanted)


def open_new_files(config: AdaptationRun, folder: Path) -> LabelledDataset:
    """Return the objects of a finished run's data that none of its sides has seen.

    Args:
        config: The run; its data may be elsewhere now.
        folder: Its folder.

    Raises:
        PccloraError: If there is none, it is not known what the run has seen, or a class is unknown to the run.
    """
    then = read_record(folder)
    if then is None:
        raise PccloraError(f"{folder}: has no {FILE}, so it is not known which files are new to it; train it again")
    sides = {split: DATASETS.build(config.data, split=split) for split in ("train", "test")}
    return unseen(then, DataRecord.of(sides), sides, place=folder)


def _pooled(record: DataRecord) -> DataRecord:
    """Return a record in which it does not matter which objects a seed chose for validation."""
    learnt = sorted(o for side, objects in record.sides.items() if side != "test" for o in objects)
    return DataRecord(record.class_names, record.parts, {"train": tuple(learnt), "test": record.sides["test"]})


def _say_what_is_odd(train: LabelledDataset, test: LabelledDataset, config: AdaptationRun) -> None:
    """Say what makes figures worthless though nothing is wrong: one class, or classes without a test object."""
    counts = [np.bincount(held.labels, minlength=len(held.class_names)) for held in (train, test)]
    classes = int((counts[0] > 0).sum())
    if classes < 2 and train.parts is None:
        logger.warning(
            "%s: all %d training objects are of one class: whatever is answered is right", train.name, len(train)
        )
    untested = [name for name, *held in zip(train.class_names, *counts, strict=True) if held[0] and not held[1]]
    if untested:
        logger.warning(
            "%s: no test object of %s: nothing is measured on %s",
            train.name, _few(untested), "it" if len(untested) == 1 else "them",
        )  # fmt: skip


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
