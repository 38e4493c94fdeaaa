"""Reads few-shot episodes in the official form, ``ModelNetFewshot/{way}way_{shot}shot/{fold}.pkl``.

The files that Point-BERT gives out (arXiv 2111.14819; its DATASET.md spells the folder ``5way10shot``, the code of its
descendants ``5way_10shot``: both are read) were drawn without a seed, so they *are* the benchmark of the literature's
numbers. A file is a pickle ``{"train": [...], "test": [...]}`` of (points (8192, 6) float32, label 0..way-1, class of
ModelNet40). Nothing in it is executed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pcclora.atomic import read_json
from pcclora.data.episodes.draw import RECORD_KEYS, Episode
from pcclora.data.readers.class_lists import check_distinct
from pcclora.data.readers.files import check_points, require_folder, unreadable
from pcclora.data.readers.pickles import load_pickle
from pcclora.data.sets.arrays import ArrayDataset
from pcclora.data.sets.modelnet import MODELNET40
from pcclora.errors import PccloraError
from pcclora.ops import sample_farthest_points
from pcclora.paths import file_sha256, is_dir
from pcclora.shipped import card

CARD = f"see {card('modelnet40_fewshot')}"
SIDES = {"train": "support", "test": "query"}


class _Item(NamedTuple):
    points: NDArray[np.floating]
    label: int
    source_class: int


def find_folds(root: str | Path, *, way: int, shot: int) -> list[int]:
    """Return the numbers of the folds that a folder holds, ascending.

    Raises:
        PccloraError: If there is no such folder, or both spellings of it with different files.
    """
    return sorted(_fold_files(require_folder(root, "few-shot episodes", CARD), way, shot))


def read_episode(
    root: str | Path,
    *,
    way: int,
    shot: int,
    fold: int,
    class_names: Sequence[str] = MODELNET40,
    normalize: bool = True,
) -> Episode:
    """Read one fold.

    Args:
        root: The folder of ``5way_10shot`` and its like.
        way: Number of classes.
        shot: Support objects of each class.
        fold: Which file.
        class_names: Of the data set that the episodes were drawn from. Files of :func:`write_episodes` know theirs.
        normalize: Centre each cloud and scale it into the unit sphere, as the peers do when they read these files.

    Raises:
        PccloraError: If there is no such fold, both spellings of its folder hold different ones, or the file is
            damaged, wants to run a program, or is no episode of that setting.
    """
    folder = require_folder(root, "few-shot episodes", CARD)
    files = _fold_files(folder, way, shot)
    if fold not in files:
        there = f"there are {', '.join(map(str, sorted(files)))}" if files else "there is none"
        raise PccloraError(f"{folder / spellings(way, shot)[0] / f'{fold}.pkl'}: no such fold, {there}; {CARD}")
    items = _read_items(files[fold], way)
    record = _record(files[fold], items, way, shot, fold)
    if "class_names" not in record:
        record["class_names"] = _names(files[fold], record["classes"], class_names)
    support, query = (_dataset(files[fold], side, items[side], record, normalize=normalize) for side in SIDES)
    return Episode(
        support=support,
        query=query,
        way=way,
        shot=shot,
        queries=record["queries"],
        seed=record["seed"],
        fold=fold,
        source=record["source"],
        classes=tuple(record["classes"]),
        support_indices=tuple(record["support_indices"]),
        query_indices=tuple(record["query_indices"]),
    )


def spellings(way: int, shot: int) -> tuple[str, str]:
    """Return what the folder of a setting may be called."""
    return f"{way}way_{shot}shot", f"{way}way{shot}shot"


def _fold_files(root: Path, way: int, shot: int) -> dict[int, Path]:
    """Return the files of a setting by fold; where both spellings are there, they must hold the same."""
    found = [
        {int(path.stem): path for path in (root / spelling).glob("*.pkl") if path.stem.isdecimal()}
        for spelling in spellings(way, shot)
        if is_dir(root / spelling)
    ]
    if len(found) == 2:
        first, second = ({fold: file_sha256(path) for fold, path in files.items()} for files in found)
        if first != second:
            raise PccloraError(
                f"{root}: {' and '.join(spellings(way, shot))} hold different folds; remove or rename one of them"
            )
    if not found:
        raise PccloraError(f"{root}: has neither {' nor '.join(spellings(way, shot))}; {CARD}")
    return found[0]


def _read_items(file: Path, way: int) -> dict[str, list[_Item]]:
    content = load_pickle(file)
    if not isinstance(content, dict) or not all(isinstance(content.get(side), list) for side in SIDES):
        raise unreadable(file, "expected a dict of the lists 'train' and 'test'")
    return {
        side: [_item(entry, way, f"{file}[{side}][{place}]") for place, entry in enumerate(content[side])]
        for side in SIDES
    }


def _item(entry: Any, way: int, place: str) -> _Item:
    try:
        points, *numbers = entry
        cloud = np.asarray(points)
        label, source_class = (np.asarray(number).reshape(()) for number in numbers)
    except (TypeError, ValueError) as error:
        raise PccloraError(f"{place}: expected (points, label, class), {error}; is it another pickle?") from error
    if label.dtype.kind not in "iu" or source_class.dtype.kind not in "iu":
        raise PccloraError(
            f"{place}: label and class must be whole numbers, found {_shown(label)} and {_shown(source_class)}"
        )
    if not 0 <= label < way or source_class < 0:
        raise PccloraError(
            f"{place}: label {label} of class {source_class} is not in 0..{way - 1}; another setting's file?"
        )
    return _Item(check_points(cloud, place), int(label), int(source_class))


def _shown(value: NDArray[Any]) -> str:
    return f"{value.dtype}" if value.dtype.hasobject else f"{value}"[:40]


def _record(file: Path, items: dict[str, list[_Item]], way: int, shot: int, fold: int) -> dict[str, Any]:
    """Check that the items are an episode, and return what is known of it: as written beside it, or as found."""
    counts = {side: np.bincount([item.label for item in items[side]], minlength=way) for side in SIDES}
    queries = int(counts["test"].min())
    if (counts["train"] != shot).any() or not queries or (counts["test"] != queries).any():
        raise PccloraError(
            f"{file}: {shot} support objects and equally many queries of each of {way} classes are expected, found "
            f"{counts['train'].tolist()} and {counts['test'].tolist()}; another setting's file?"
        )
    pairs = sorted({(item.label, item.source_class) for side in SIDES for item in items[side]})
    classes = [source_class for _, source_class in pairs]
    if len(pairs) != way or len(set(classes)) != way:
        raise PccloraError(f"{file}: each label must stand for one class, found (label, class) {pairs}")
    learnt, asked = ({item.points.tobytes() for item in items[side]} for side in SIDES)
    if shared := len(learnt & asked):
        raise PccloraError(f"{file}: {shared} objects are both learnt from and asked about; get it from another source")
    found = {"fold": fold, "way": way, "shot": shot, "queries": queries, "classes": classes}
    if (beside := file.with_suffix(".json")).is_file():
        record = read_json(beside)
        if set(record) != set(RECORD_KEYS) or any(record[key] != value for key, value in found.items()):
            raise PccloraError(f"{beside}: does not belong to {file.name}; remove it")
        _check_record(record, {"support": len(items["train"]), "query": len(items["test"])}, beside)
        return record
    places = {f"{part}_indices": list(range(len(items[side]))) for side, part in SIDES.items()}
    source = f"{file.parent.parent.resolve().name} sha256:{file_sha256(file)[:16]}"
    return {**found, **places, "seed": None, "source": source}


def _check_record(record: dict[str, Any], counts: dict[str, int], place: Path) -> None:
    """Refuse what the file beside an episode says of it where it cannot be so."""
    names, seed = record["class_names"], record["seed"]
    right = isinstance(record["source"], str) and (seed is None or type(seed) is int)
    right &= isinstance(names, list) and len(names) == record["way"] and all(isinstance(name, str) for name in names)
    for side, count in counts.items():
        indices = record[f"{side}_indices"]
        right &= isinstance(indices, list) and len(indices) == count and all(type(index) is int for index in indices)
    if not right:
        raise PccloraError(f"{place}: damaged, its names or numbers are not those of an episode; remove it")
    check_distinct(names, place)


def _names(file: Path, classes: Sequence[int], class_names: Sequence[str]) -> list[str]:
    if max(classes) >= len(class_names):
        raise PccloraError(
            f"{file}: class {max(classes)} is not in 0..{len(class_names) - 1}; pass the class names of the data set "
            "that these episodes were drawn from"
        )
    return [class_names[source_class] for source_class in classes]


def _dataset(file: Path, side: str, items: Sequence[_Item], record: dict[str, Any], *, normalize: bool) -> ArrayDataset:
    return ArrayDataset(
        name=record["source"],
        split=SIDES[side],
        class_names=record["class_names"],
        clouds=[item.points for item in items],
        labels=np.array([item.label for item in items], dtype=np.int64),
        places=[f"{file}[{side}][{place}]" for place in range(len(items))],
        normalize=normalize,
        fps_ordered=_farthest_first([item.points for item in items]),
        form="pkl",
    )


def _farthest_first(clouds: Sequence[NDArray[np.floating]], count: int = 16) -> bool:
    """Whether most clouds are stored in farthest-point order; in one or the other a tie falls otherwise."""
    agree = [
        len(cloud) >= count and (farthest_points(cloud[:, :3], count) == np.arange(count)).all() for cloud in clouds
    ]
    return bool(np.mean(agree) > 0.5)


def farthest_points(points: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Return the places of the farthest-point sample of a cloud (N, 3), from its first point on."""
    _, chosen = sample_farthest_points(torch.from_numpy(np.ascontiguousarray(points, np.float32))[None], K=count)
    return np.asarray(chosen[0].numpy())
