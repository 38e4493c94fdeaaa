"""``fgvc``: five sets of birds, flowers, cars and dogs with the json splits of VPT.

Jia et al., "Visual Prompt Tuning", ECCV 2022 (arXiv 2203.12119): CUB-200-2011, NABirds, Oxford Flowers, Stanford Cars,
Stanford Dogs. Each split is ``{"path/of/image.jpg": class}``; classes may be any whole numbers and are counted from 0
in their order, as VPT does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcclora.data.base import check_split
from pcclora.data.readers.class_lists import load_table
from pcclora.data.readers.files import require_folder, unreadable
from pcclora.data.sets.image_lists import ListedImages, Listing, SuiteConfig, SuiteTask, find_task, is_class
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.shipped import card

CARD = f"see {card('fgvc')}"
TASKS = {
    "cub_200_2011": SuiteTask(200, "FGVC"),
    "nabirds": SuiteTask(555, "FGVC"),
    "oxford_flowers": SuiteTask(102, "FGVC"),
    "stanford_cars": SuiteTask(196, "FGVC"),
    "stanford_dogs": SuiteTask(120, "FGVC"),
}
"""The tasks in the order of the papers' tables."""
FOLDERS = {
    "cub_200_2011": ("CUB_200_2011", "images"),
    "nabirds": ("nabirds", "images"),
    "oxford_flowers": ("OxfordFlower", "."),
    "stanford_cars": ("Stanford-cars", "."),
    "stanford_dogs": ("Stanford-dogs", "Images"),
}
"""What VPT calls the folder of each, and where in it the paths of the splits begin."""
FILES = {(False, "train"): "train", (False, "test"): "test", (True, "train"): "train", (True, "test"): "val"}
"""Which file a split is, without and with ``tuning``: VPT trains on train.json in both."""


@dataclass
class FgvcConfig(SuiteConfig):
    """Which task; ``tuning`` tests on val.json, and training is on train.json either way, as in VPT."""


@DATASETS.register("fgvc", config=FgvcConfig)
def fgvc(config: FgvcConfig, *, split: str) -> ListedImages:
    """Open one split of a task.

    Args:
        config: Which.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If there is no such task or split, its json is damaged, has classes that training has not, or
            names an image that is absent.
    """
    check_split("fgvc", split, ("train", "test"))
    root = require_folder(config.root, "fgvc", CARD)
    official, images = FOLDERS.get(config.task, (config.task, "."))
    folder = find_task(root, config.task, [official, config.task], TASKS, what="fgvc", remedy=CARD)
    train = read_split(folder / "train.json", folder / images)
    wanted = FILES[config.tuning, split]
    listing = train if wanted == "train" else read_split(folder / f"{wanted}.json", folder / images)
    ids = np.unique(train.labels)
    classes = config.classes or (TASKS[config.task].classes if config.task in TASKS else len(ids))
    if len(ids) != classes:
        raise PccloraError(f"{folder / 'train.json'}: {len(ids)} classes, {config.task} has {classes}; {CARD}")
    return ListedImages(
        name="fgvc",
        split=split,
        class_names=name_classes(train, ids.tolist()),
        listing=_count_from_zero(listing, ids.tolist()),
        remedy=CARD,
        root=folder,
    )


def read_split(path: Path, images: Path) -> Listing:
    """Read ``{"path/of/image.jpg": class}``.

    Args:
        path: The json file.
        images: Where the paths begin.

    Returns:
        The images, with the classes as they are in the file.

    Raises:
        PccloraError: If it is absent, damaged, or naming the first entry that is of another form.
    """
    content = load_table(path, CARD)
    if not isinstance(content, dict) or not content:
        raise unreadable(path, 'expected {"path/of/image.jpg": class, ...}', CARD)
    for name, label in content.items():
        if not isinstance(label, str | int) or not is_class(str(label)[:20]):
            raise PccloraError(f"{path}: the class of '{name}' is {str(label)[:40]!r}; a whole number is needed")
    labels = np.array([int(label) for label in content.values()], dtype=np.int64)
    return Listing([images / name for name in content], labels, [f"{path}, '{name}'" for name in content])


def name_classes(train: Listing, ids: Sequence[int]) -> list[str]:
    """Return the names of classes: the folder of their images where each has one of its own, else their numbers."""
    homes: dict[int, set[str]] = {label: set() for label in ids}
    for file, label in zip(train.files, train.labels.tolist(), strict=True):
        homes[label].add(file.parent.name)
    names = [next(iter(home)) for home in homes.values()]
    own = all(len(home) == 1 for home in homes.values()) and len(set(names)) == len(ids)
    return names if own else [str(label) for label in ids]


def _count_from_zero(listing: Listing, ids: Sequence[int]) -> Listing:
    place = {label: number for number, label in enumerate(ids)}
    for label, where in zip(listing.labels.tolist(), listing.places, strict=True):
        if label not in place:
            raise PccloraError(f"{where}: class {label} has no training image; do the splits belong together? {CARD}")
    return Listing(listing.files, np.array([place[label] for label in listing.labels.tolist()]), listing.places)
