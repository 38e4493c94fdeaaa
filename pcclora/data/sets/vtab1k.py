"""``vtab1k``: the 19 tasks of VTAB-1K as folders of images and lists, and any task of one's own in the same form.

Zhai et al., "A Large-scale Study of Representation Learning with the Visual Task Adaptation Benchmark", 2019
(arXiv 1910.04867). Folder names, lists and labels are those that NOAH wrote and the PEFT literature passes around.
"""

from dataclasses import dataclass
from pathlib import Path

from pcclora.data.base import check_split
from pcclora.data.readers.class_lists import read_class_names
from pcclora.data.readers.files import require_folder
from pcclora.data.sets.image_lists import ListedImages, SuiteConfig, SuiteTask, find_task, read_listing
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.shipped import card

CARD = f"see {card('vtab1k')}"
TASKS = {
    "cifar": SuiteTask(100, "Natural"),
    "caltech101": SuiteTask(102, "Natural"),
    "dtd": SuiteTask(47, "Natural"),
    "oxford_flowers102": SuiteTask(102, "Natural"),
    "oxford_iiit_pet": SuiteTask(37, "Natural"),
    "svhn": SuiteTask(10, "Natural"),
    "sun397": SuiteTask(397, "Natural"),
    "patch_camelyon": SuiteTask(2, "Specialized"),
    "eurosat": SuiteTask(10, "Specialized"),
    "resisc45": SuiteTask(45, "Specialized"),
    "diabetic_retinopathy": SuiteTask(5, "Specialized"),
    "clevr_count": SuiteTask(8, "Structured"),
    "clevr_dist": SuiteTask(6, "Structured"),
    "dmlab": SuiteTask(6, "Structured"),
    "kitti": SuiteTask(4, "Structured"),
    "dsprites_loc": SuiteTask(16, "Structured"),
    "dsprites_ori": SuiteTask(16, "Structured"),
    "smallnorb_azi": SuiteTask(18, "Structured"),
    "smallnorb_ele": SuiteTask(9, "Structured"),
}
"""The tasks in the order of the papers' tables."""
LISTS = {
    (False, "train"): "train800val200",
    (False, "test"): "test",
    (True, "train"): "train800",
    (True, "test"): "val200",
}
"""Which list a split is, without and with ``tuning``."""


@dataclass
class Vtab1kConfig(SuiteConfig):
    """Which task; ``tuning`` trains on the 800 and tests on the 200, else the 1,000 and the test images."""


@DATASETS.register("vtab1k", config=Vtab1kConfig)
def vtab1k(config: Vtab1kConfig, *, split: str) -> ListedImages:
    """Open one split of a task.

    Args:
        config: Which.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If there is no such task or split, a list is damaged, names an image that is absent, or has a
            label that is not 0 to C - 1; the message has the list and its line.
    """
    check_split("vtab1k", split, ("train", "test"))
    root = require_folder(config.root, "vtab1k", CARD)
    folder = find_task(root, config.task, [config.task], TASKS, what="vtab1k", remedy=CARD)
    return ListedImages(
        name="vtab1k",
        split=split,
        class_names=find_class_names(folder, config.classes),
        listing=read_listing(folder / f"{LISTS[config.tuning, split]}.txt", remedy=CARD),
        remedy=CARD,
        root=folder,
    )


def find_class_names(folder: Path, classes: int = 0) -> list[str]:
    """Return the names of a task's classes: its classes.txt, or numbers.

    Args:
        folder: The task's.
        classes: How many there must be; 0: as many as the task of this name has, or else classes.txt or the lists say.

    Raises:
        PccloraError: If classes.txt has another number, or the lists of a task that is not in :data:`TASKS` leave one
            out.
    """
    classes = classes or (TASKS[folder.name].classes if folder.name in TASKS else 0)
    named = folder / "classes.txt"
    if named.is_file():
        names = read_class_names(named)
        if classes not in (0, len(names)):
            raise PccloraError(f"{named}: {len(names)} names for {classes} classes; one line a class is needed")
        return names
    return [str(label) for label in range(classes or _count_classes(folder))]


def _count_classes(folder: Path) -> int:
    lists = [folder / f"{name}.txt" for name in LISTS.values()]
    found = sorted({label for path in lists for label in read_listing(path, remedy=CARD).labels.tolist()})
    for expected, label in enumerate(found):
        if expected != label:
            raise PccloraError(
                f"{folder}: no image of class {expected} in any list, but of {label}; labels are 0 to C - 1. "
                "Where it is right that none is there, set classes"
            )
    if len(found) < 2:
        raise PccloraError(f"{folder}: {len(found)} classes in its lists; at least 2 are needed. {CARD}")
    return len(found)
