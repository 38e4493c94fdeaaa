"""Finds the user's own files, one folder a class, in any of three layouts, and splits them where the folders do not.

``train/<class>/*`` and ``test/<class>/*``; ``<class>/train/*`` and ``<class>/test/*`` (ModelNet as its authors give
it); ``<class>/*``, which is split here, by class and by seed.
"""

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from pcclora.data.base import IntArray, stratified_split
from pcclora.data.readers import READERS
from pcclora.errors import PccloraError

SPLITS = ("train", "test")


def find_files(
    root: Path,
    split: str,
    *,
    what: str,
    test_fraction: float,
    split_seed: int,
    names: Sequence[str] | None = None,
    suffixes: Collection[str] = tuple(READERS),
) -> tuple[tuple[str, ...], list[Path], IntArray]:
    """Find the files of one split, in sorted order.

    Args:
        root: The folder of the classes, or of ``train`` and ``test``.
        split: ``"train"`` or ``"test"``.
        what: The data set, for messages.
        test_fraction: Share of each class that is tested on, where the folders do not say it.
        split_seed: Another seed, another split.
        names: The classes in order; None takes the folders, sorted. A single class needs no folder of its own.
        suffixes: What the names of the files end with, in lower case; by default those of point clouds and meshes.

    Returns:
        Class names, files (M), and the class (M,) of each.

    Raises:
        PccloraError: If there is no such split, no class, or a class without a file that can be read.
    """
    if split not in SPLITS:
        raise PccloraError(f"{what}: no split '{split}'; there are {', '.join(SPLITS)}")
    if all((root / part).is_dir() for part in SPLITS):
        names = names or sorted({name for part in SPLITS for name in folders(root / part)})
        found = [_files(_home(root / split, name, names), what, suffixes) for name in names]
    else:
        names = names or folders(root)
        homes = [_home(root, name, names) for name in names]
        nested = bool(homes) and all((home / part).is_dir() for home in homes for part in SPLITS)
        found = [_files(home / split if nested else home, what, suffixes) for home in homes]
        if not nested:
            found = _split(found, split, test_fraction, split_seed)
    if not names:
        raise PccloraError(
            f"{what}: {root} has no class folders; put the files of each class into a folder of its name"
        )
    labels = np.repeat(np.arange(len(names)), [len(files) for files in found])
    return tuple(names), [file for files in found for file in files], labels


def folders(root: Path) -> list[str]:
    """Return the names of the folders in one, sorted, without hidden ones."""
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _home(parent: Path, name: str, names: Sequence[str]) -> Path:
    return parent if len(names) == 1 and not (parent / name).is_dir() else parent / name


def _split(found: list[list[Path]], split: str, test_fraction: float, split_seed: int) -> list[list[Path]]:
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found])
    sides = dict(zip(SPLITS, stratified_split(labels, test_fraction, split_seed), strict=True))
    files = [file for group in found for file in group]
    return [[files[i] for i in sides[split] if labels[i] == label] for label in range(len(found))]


def _files(folder: Path, what: str, suffixes: Collection[str]) -> list[Path]:
    present = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    files = [path for path in present if path.suffix.lower() in suffixes]
    if not files:
        state = "has none" if folder.is_dir() else "is absent"
        raise PccloraError(
            f"{what}: a class needs files ({' '.join(suffixes)}), {folder} {state}; add files, or remove the folder"
        )
    named_parts = (".yaml", ".yml", ".json")  # part_folder's own file, beside the clouds of a single class
    others = [path for path in present if path not in files and path.suffix.lower() not in named_parts]
    if others:
        warnings.warn(f"{what}: {len(others)} files of other formats are left out, as {others[0]}", stacklevel=2)
    return files
