"""Images that a list names, each with its class: what VTAB-1K's lists and FGVC's json splits have in common."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pcclora.data.base import DataConfig, ImageDataset, ImageSample, IntArray, check_labels
from pcclora.data.readers.files import unreadable
from pcclora.data.readers.images import read_image
from pcclora.errors import PccloraError, did_you_mean
from pcclora.paths import is_dir, read_text


class SuiteTask(NamedTuple):
    """One task of a suite: its number of classes, and the group whose mean it counts in."""

    classes: int
    group: str


@dataclass
class SuiteConfig(DataConfig):
    """Which task of a suite, and which side of the protocol.

    Attributes:
        root: The folder of the tasks' folders.
        task: The folder of one: a name of the suite's tasks, or one's own in the same form.
        tuning: Test on the validation images, to choose settings: the test images are not opened.
        classes: Number of classes; 0: the task's own, or for another task what its files say.
    """

    root: str = ""
    task: str = ""
    tuning: bool = False
    classes: int = 0

    def __post_init__(self) -> None:
        if self.classes < 0 or self.classes == 1:
            raise PccloraError(f"classes is {self.classes}; 0 (the task's own) or at least 2 are needed")


@dataclass(frozen=True)
class Listing:
    """What a list says.

    Attributes:
        files: (M) images.
        labels: (M,) the class of each.
        places: (M) where the list says so, for messages.
    """

    files: list[Path]
    labels: IntArray
    places: list[str]


def read_listing(path: Path, *, remedy: str) -> Listing:
    """Read a list of lines ``relative/path.jpg 3``.

    Args:
        path: The list; images lie relative to its folder.
        remedy: What to do where it is absent or damaged.

    Raises:
        PccloraError: If it is absent, empty or no text, or naming the first line that is of another form.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error, remedy) from error
    files, labels, places = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *label = line.rsplit(maxsplit=1)
        if not label or not is_class(label[0]):
            raise PccloraError(
                f"{path}, line {number}: '{line.strip()[:80]}' is not an image and its class, as 'images/0.jpg 3'"
            )
        files.append(path.parent / name.strip())
        labels.append(int(label[0]))
        places.append(f"{path}, line {number}")
    if not files:
        raise unreadable(path, "no images in it", remedy)
    return Listing(files, np.array(labels, dtype=np.int64), places)


def is_class(text: str) -> bool:
    """Return whether a text is a whole number from 0 that can be the number of a class."""
    return text.isascii() and text.isdecimal() and len(text) < 10


class ListedImages(ImageDataset):
    """The images of a list; that all exist is checked at once, what is in them when they are read.

    Args:
        name: The data set.
        split: Which part.
        class_names: One a class.
        listing: The images.
        remedy: What to do where some are absent.
        root: The folder that they lie in.

    Raises:
        PccloraError: If images are absent, or a label is of no class; the message names the list and its line.
    """

    files: Sequence[Path]

    def __init__(
        self, *, name: str, split: str, class_names: Sequence[str], listing: Listing, remedy: str, root: Path | str = ""
    ) -> None:
        self.name, self.split, self.class_names, self.root = name, split, tuple(class_names), str(root)
        self.files, self.labels, self.places = listing.files, listing.labels, listing.places
        check_labels(self.labels, self.class_names, self.places, name)
        absent = find_absent(self.files)
        if absent:
            first = absent[0]
            raise PccloraError(
                f"{self.places[first]}: {self.files[first]} is absent, and so are {len(absent) - 1} more of "
                f"{len(self)} images; {remedy}"
            )

    def __getitem__(self, index: int) -> ImageSample:
        pixels = read_image(self.files[index], upright=False, place=self.places[index])
        return ImageSample(pixels, int(self.labels[index]), str(self.files[index]))


def find_absent(files: Sequence[Path]) -> list[int]:
    """Return which files do not exist. Folders are listed once, which is faster than to ask for every file.

    Raises:
        PccloraError: If a folder must not be listed.
    """
    present: dict[Path, set[str]] = {}
    for folder in {file.parent for file in files}:
        try:
            present[folder] = set(os.listdir(folder))
        except PermissionError as error:
            raise PccloraError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
        except (OSError, ValueError):  # none such, or a name that the system refuses
            present[folder] = set()
    return [index for index, file in enumerate(files) if file.name not in present[file.parent]]


def find_task(root: Path, task: str, folders: Sequence[str], known: Collection[str], *, what: str, remedy: str) -> Path:
    """Return the folder of a task.

    Args:
        root: The folder of the tasks.
        task: Its name.
        folders: What its folder may be called.
        known: The names of all tasks.
        what: The suite, for messages.
        remedy: What to do where it is absent.

    Raises:
        PccloraError: If no task is given, or there is no such folder; the message has the nearest name.
    """
    if not task:
        raise PccloraError(f"{what}: no task is given; set task to one of {', '.join(known)}")
    for folder in folders:
        if is_dir(root / folder):
            return root / folder
    if task in known:
        expected = " or ".join(str(root / folder) for folder in folders)
        raise PccloraError(f"{what}: the folder of '{task}', {expected}, does not exist; {remedy}")
    present = [path.name for path in root.iterdir() if path.is_dir()]
    raise PccloraError(f"{what}: {root} has no task '{task}'{did_you_mean(task, {*known, *present})}")
