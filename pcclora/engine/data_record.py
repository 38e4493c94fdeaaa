"""What a run was trained and tested on, as part of the run: ``data.json`` names every object of every side.

An object has a name (its path below the data's root), a class and a digest of its content. A run that is resumed,
evaluated or drawn again gets the very same objects back, in their order. Where they are not there any more it is
refused with a count of what is gone, changed or moved; what is new is left out and said. So no number is ever made on
data that only seem to be those of the run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pcclora.atomic import read_json, write_text
from pcclora.data import LabelledDataset, Parts
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.log import logger

FILE = "data.json"
_FORMAT = 1
_FORM = {
    "classes": [str],
    "parts": (None, [list]),
    "sides": {"*": {"sha256": str, "objects": [[str]]}},
}
_TRAINED_ON = ("train", "validation", "support")


class Object(NamedTuple):
    """One object of a side: its name, its class, and a digest of its content."""

    name: str
    label: str
    digest: str


@dataclass(frozen=True)
class DataRecord:
    """The objects of a run.

    Attributes:
        class_names: One a class.
        parts: What each class is made of, where the data say it.
        sides: ``train``, ``validation`` if there is one, ``test``; each in the order of its data set.
    """

    class_names: tuple[str, ...]
    parts: Parts | None
    sides: Mapping[str, tuple[Object, ...]]

    @classmethod
    def of(cls, sides: Mapping[str, LabelledDataset]) -> "DataRecord":
        """Read every object of some data sets once, and digest it.

        Args:
            sides: Name of a side -> its data set; all have the same classes.

        Raises:
            PccloraError: If an object cannot be read.
        """
        first = next(iter(sides.values()))
        return cls(first.class_names, first.parts, {side: objects_of(held) for side, held in sides.items()})

    @property
    def sha256(self) -> dict[str, str]:
        """Side -> one digest of all its objects: two runs that state the same one had the same data."""
        return {side: sha256_of(objects) for side, objects in self.sides.items()}

    @property
    def trained_on(self) -> frozenset[str]:
        """Digests of what was trained on or chosen by."""
        return frozenset(o.digest for side in _TRAINED_ON for o in self.sides.get(side, ()))

    def write(self, path: Path) -> None:
        """Write or replace ``data.json``, a line an object."""
        parts = self.parts and [self.parts.names, self.parts.of_class]
        head = json.dumps({"format": _FORMAT, "classes": self.class_names, "parts": parts})
        sides = []
        for side, objects in self.sides.items():
            lines = ",\n".join(json.dumps(o) for o in objects)
            sides.append(f'{json.dumps(side)}: {{"sha256": "{sha256_of(objects)}", "objects": [\n{lines}\n]}}')
        body = ",\n".join(sides)
        write_text(path, f'{head[:-1]}, "sides": {{\n{body}\n}}}}\n')

    @classmethod
    def read(cls, path: Path) -> "DataRecord":
        """Read ``data.json``.

        Raises:
            PccloraError: If it is absent, damaged, of another version, or does not have the digests that it states.
        """
        held = read_json(path)
        if held.get("format") != _FORMAT:
            raise PccloraError(f"{path}: its format is {held.get('format')}, this version reads {_FORMAT}")
        check_form(held, _FORM, path, remedy="copy the run folder again")
        try:
            sides = {side: tuple(Object(*o) for o in own["objects"]) for side, own in held["sides"].items()}
            parts = held["parts"] and Parts(tuple(held["parts"][0]), tuple(map(tuple, held["parts"][1])))
        except (TypeError, IndexError) as error:  # lists of another length than they have here
            raise PccloraError(f"{path}: is no record of data, or damaged: {error}") from error
        found = cls(tuple(held["classes"]), parts, sides)
        if found.sha256 != {side: own["sha256"] for side, own in held["sides"].items()}:
            raise PccloraError(f"{path}: does not have the digests that it states; it is damaged or edited by hand")
        return found


class Recorded(LabelledDataset):
    """A view on objects of several data sets, in another order and under other numbers of their classes.

    Args:
        split: What the view is called.
        rows: (data set, index) of each object.
        labels: (M,) its class.
        class_names: One a class.
    """

    def __init__(
        self,
        split: str,
        rows: Sequence[tuple[LabelledDataset, int]],
        labels: Sequence[int],
        class_names: tuple[str, ...],
        like: LabelledDataset,
    ) -> None:
        self.rows, self.labels = list(rows), np.array(labels, dtype=np.int64)
        self.name, self.split, self.class_names, self.root = like.name, split, class_names, like.root
        self.parts, self.holds, self.fps_ordered = like.parts, like.holds, like.fps_ordered
        self.features = like.features

    def __getitem__(self, index: int) -> Any:
        dataset, row = self.rows[index]
        return replace(dataset[row], label=int(self.labels[index]))

    def path_of(self, index: int) -> str:
        """Return where an object comes from."""
        dataset, row = self.rows[index]
        return dataset.path_of(row)

    def digest_of(self, index: int) -> str:
        """Return what tells an object's content from another's."""
        dataset, row = self.rows[index]
        return dataset.digest_of(row)


def objects_of(dataset: LabelledDataset) -> tuple[Object, ...]:
    """Return all objects of a data set, each read once; a bar shows where that takes long."""
    from tqdm import tqdm

    names = [dataset.class_names[label] for label in dataset.labels]
    bar = tqdm(names, desc=f"checking {dataset.split} data", unit="object", delay=2, leave=False, disable=None)
    return tuple(Object(dataset.name_of(row), name, dataset.digest_of(row)) for row, name in enumerate(bar))


def restore(
    then: DataRecord,
    now: DataRecord,
    sides: Mapping[str, LabelledDataset],
    *,
    place: object,
    only: Collection[str] = (),
) -> dict[str, LabelledDataset]:
    """Return the data sets of a run as it was begun.

    Args:
        then: What it was begun with.
        now: The record of what is there now.
        sides: The data sets that ``now`` is of.
        place: The run's folder, for messages.
        only: Which sides are wanted; all without.

    Returns:
        Side -> data set with just the recorded objects, in their order; those given where nothing has changed.

    Raises:
        PccloraError: If an object is gone, changed, moved or of another class, or classes or parts are others.
    """
    if then == now:
        return dict(sides)
    refuse_other_classes(then, now, place)
    there = {
        (o.name, o.digest, o.label): (sides[side], row) for side in now.sides for row, o in enumerate(now.sides[side])
    }
    wanted = {side: objects for side, objects in then.sides.items() if not only or side in only}
    missing = [o for objects in wanted.values() for o in objects if (o.name, o.digest, o.label) not in there]
    if missing:
        raise PccloraError(
            f"{place}: the data are not those it was begun with: {_differences(missing, now)}; put them back as they "
            "were, or begin another run"
        )
    known = {o.name for objects in then.sides.values() for o in objects}
    new = sorted(o for objects in now.sides.values() for o in objects if o.name not in known)
    if new:
        logger.warning("%s: %s since it was begun, left out", place, _counted(new, "new"))
    like, label_of = next(iter(sides.values())), {name: label for label, name in enumerate(then.class_names)}
    return {
        side: Recorded(
            side,
            [there[o.name, o.digest, o.label] for o in objects],
            [label_of[o.label] for o in objects],
            then.class_names,
            like,
        )
        for side, objects in wanted.items()
    }


def refuse_other_classes(then: DataRecord, now: DataRecord, place: object) -> None:
    """Refuse data that lack a class of a run, or whose classes are made of other parts.

    Raises:
        PccloraError: Naming what is gone and what is new.
    """
    gone = [name for name in then.class_names if name not in now.class_names]
    new = [name for name in now.class_names if name not in then.class_names]
    if gone:
        raise PccloraError(
            f"{place}: begun with the classes {', '.join(then.class_names)}; {', '.join(gone)} "
            f"{'are' if len(gone) > 1 else 'is'} gone" + (f", {', '.join(new)} new" if new else "") + "; were folders "
            "renamed? Put the names back, or begin another run"
        )
    if then.parts != now.parts:
        raise PccloraError(f"{place}: begun with other parts of its classes than the data have now; begin another run")


def refuse_changes(then: DataRecord, now: DataRecord, place: object) -> None:
    """Refuse data that differ in anything from those recorded.

    Raises:
        PccloraError: Counting what is gone, changed, moved and new.
    """
    if then == now:
        return
    refuse_other_classes(then, now, place)
    before, after = ({o for objects in held.sides.values() for o in objects} for held in (then, now))
    found = [_differences(sorted(before - after), now)] if before - after else []
    names = {o.name for o in before}
    new = [o for o in sorted(after) if o.name not in names]
    found += [_counted(new, "new")] if new else []
    raise PccloraError(
        f"{place}: the data are not those it was begun with: {', '.join(found) or 'their order or sides are others'}; "
        "put them back as they were, or begin in another folder"
    )


def unseen(then: DataRecord, now: DataRecord, sides: Mapping[str, LabelledDataset], *, place: object) -> Recorded:
    """Return the objects that no side of a run has seen, by name or by content.

    Args:
        then: The run's record.
        now: The record of what is there now.
        sides: The data sets that ``now`` is of.
        place: The run's folder, for messages.

    Raises:
        PccloraError: If there is none, or one is of a class that the run does not have.
    """
    seen = [o for objects in then.sides.values() for o in objects]
    names, digests = {o.name for o in seen}, {o.digest for o in seen}
    label_of = {name: label for label, name in enumerate(then.class_names)}
    rows: dict[str, tuple[LabelledDataset, int, Object]] = {}
    for side, objects in now.sides.items():
        for row, o in enumerate(objects):
            if o.name not in names and o.digest not in digests:
                rows.setdefault(o.name, (sides[side], row, o))
    if not rows:
        raise PccloraError(f"{place}: every object there is was seen by the run, by name or by content; add new files")
    strange = sorted({o.label for _, _, o in rows.values()} - label_of.keys())
    if strange:
        raise PccloraError(f"{place}: new objects are of the classes {', '.join(strange)}, which the run does not have")
    chosen = list(rows.values())
    like = next(iter(sides.values()))
    labels = [label_of[o.label] for _, _, o in chosen]
    return Recorded("new files", [(dataset, row) for dataset, row, _ in chosen], labels, then.class_names, like)


def warn_of_shared(trained_on: Iterable[str], tested: Sequence[Object], *, place: object) -> None:
    """Say how many objects of a side are, byte for byte, ones that were trained on."""
    known = frozenset(trained_on)
    shared = [o for o in tested if o.digest in known]
    if shared:
        logger.warning(
            "%s: %d of the %d objects tested on are, byte for byte, ones that are trained on, as %s: figures flatter",
            place, len(shared), len(tested), shared[0].name,
        )  # fmt: skip


def _differences(missing: Sequence[Object], now: DataRecord) -> str:
    """Count by kind what became of objects that are not there as they were."""
    present = [o for objects in now.sides.values() for o in objects]
    names, digests = {o.name: o for o in present}, {o.digest: o for o in present}
    kinds: dict[str, list[str]] = {}
    for o in missing:
        if o.name in names and names[o.name].digest == o.digest:
            kinds.setdefault("of another class", []).append(f"{o.name}, now {names[o.name].label}")
        elif o.name in names:
            kinds.setdefault("changed", []).append(o.name)
        elif o.digest in digests:
            kinds.setdefault("moved or renamed", []).append(f"{o.name}, now {digests[o.digest].name}")
        else:
            kinds.setdefault("gone", []).append(o.name)
    return ", ".join(f"{len(own)} {kind} (as {own[0]})" for kind, own in kinds.items())


def _counted(objects: Sequence[Object], kind: str) -> str:
    classes = Counter(o.label for o in objects)
    few = ", ".join(f"{count} {name}" for name, count in classes.most_common(4))
    more = ", ..." if len(classes) > 4 else ""
    return f"{len(objects)} {kind} objects (as {objects[0].name}; {few}{more})"


def sha256_of(objects: Sequence[Object]) -> str:
    """Return one digest of all objects, in their order."""
    text = json.dumps(objects, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
