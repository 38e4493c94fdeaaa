"""Finds the user's own files, one folder a class, in any of three layouts, and splits them where the folders do not.

``train/<class>/*`` and ``test/<class>/*``; ``<class>/train/*`` and ``<class>/test/*`` (ModelNet as its authors give
it); ``<class>/*``, which is split here, by class and by seed. Sides are found in any case, and ``val`` and the like
is the test side where there is no ``test``. Below a class everything counts, sub-folders too, as in
torchvision's ImageFolder; what is left out is counted and said. Names are compared in NFC.
"""

import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pcclora.data.base import IntArray, check_split, stratified_split
from pcclora.data.readers import READERS
from pcclora.errors import PccloraError, did_you_mean
from pcclora.text import same_name

SPLITS = ("train", "test")
SIDES = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation", "eval", "evaluation", "dev"),
}
"""What the folder of a split may be called, in any case; of several the first is meant."""
OF_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "lost+found"})
"""What operating systems leave beside the user's files, in lower case; what begins with a dot is taken for the same."""
NAMES_FILES = ("parts.yaml", "parts.yml", "parts.json")
"""What names the parts of a part folder lies beside the clouds of a single class."""


@dataclass(frozen=True)
class Found:
    """The files of one split, in sorted order class by class.

    Attributes:
        class_names: One name a class.
        files: (M).
        labels: (M,) the class of each.
    """

    class_names: tuple[str, ...]
    files: list[Path]
    labels: IntArray


@dataclass
class _LeftOut:
    """Counts what is no data, by why, and remembers the first of each kind."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, Path] = field(default_factory=dict)

    def add(self, why: str, path: Path) -> None:
        self.counts[why] += 1
        self.first.setdefault(why, path)

    def say(self, what: str) -> None:
        if self.counts:
            kinds = [f"{count} {why} (as {self.first[why]})" for why, count in self.counts.items()]
            warnings.warn(f"{what}: left out: {', '.join(kinds)}", stacklevel=2)


def find_files(
    root: Path,
    split: str,
    *,
    what: str,
    test_fraction: float,
    split_seed: int,
    names: Sequence[str] | None = None,
    suffixes: Collection[str] = tuple(READERS),
) -> Found:
    """Find the files of one split.

    Args:
        root: The folder of the classes, or of ``train`` and ``test``.
        split: ``"train"`` or ``"test"``.
        what: The data set, for messages.
        test_fraction: Share of each class that is tested on, where the folders do not say it.
        split_seed: Another seed, another split.
        names: The classes in order; None takes the folders, sorted. A single class needs no folder of its own.
        suffixes: What the names of the files end with, in lower case; by default those of point clouds and meshes.

    Raises:
        PccloraError: If there is no such split, no class, or a class without a file that can be read.
    """
    check_split(what, split, SPLITS)
    left_out = _LeftOut()
    parents = side_folders(root, what)
    homes = _homes([parents[split]] if parents else [root], names, what)
    if parents and names is None:  # the classes are those of both sides
        names = sorted({*homes, *_homes([parents[other] for other in SPLITS], None, what)})
    names = list(names or sorted(homes))
    if not names:
        raise PccloraError(
            f"{what}: {root} has no class folders; put the files of each class into a folder of its name"
        )
    own_sides = {} if parents else {name: side_folders(homes[name], what) for name in names if name in homes}
    nested = _nested(own_sides, root, what)
    if not parents:
        _warn_of_sides(
            {name: sides["train"] if sides else homes[name] for name, sides in own_sides.items()}, root, what
        )
    _warn_of_case(names, root, what)
    found: list[list[Path]] = []
    for name in names:
        home = homes.get(name)
        if home is None:
            raise _absent(name, parents[split] if parents else root, homes, what)
        sides = own_sides.get(name)
        found.append(_files(sides[split] if nested and sides else home, what, suffixes, left_out))
    if not parents and not nested:
        found = _split(found, split, test_fraction, split_seed)
    holders = {root, *([parents[split]] if parents else homes.values() if nested else [])}
    _count_loose(holders - set(() if nested else homes.values()), suffixes, left_out)
    left_out.say(what)
    labels = np.repeat(np.arange(len(names)), [len(files) for files in found])
    return Found(tuple(names), [file for files in found for file in files], labels)


def side_folders(folder: Path, what: str) -> dict[str, Path] | None:
    """Return the folder of each split, or None where a folder is not split.

    Raises:
        PccloraError: If there is a ``train`` that can be nothing but a split, and no other side; or two of one side
            whose names differ in case alone.
    """
    present: dict[str, Path] = {}
    for path in _folders(folder):
        other = present.setdefault(path.name.lower(), path)
        if other != path and any(path.name.lower() in names for names in SIDES.values()):
            raise PccloraError(f"{what}: {other} and {path} are the same side in another case; move all into one")
    sides = {split: next((present[name] for name in SIDES[split] if name in present), None) for split in SPLITS}
    train, test = sides["train"], sides["test"]
    if train is not None and test is not None:
        unused = [present[name] for name in SIDES["test"] if name in present and present[name] != test]
        if unused:
            warnings.warn(f"{what}: {unused[0]} is left out, {test} is tested on", stacklevel=2)
        return {"train": train, "test": test}
    if train is not None and len(present) == 1 and any(_folders(train)):
        raise PccloraError(
            f"{what}: {folder} has {train.name}/ and no other side; name the folder that is tested on "
            f"{', '.join(SIDES['test'])}, or put the class folders directly into {folder} to have them split here"
        )
    return None


def _nested(own_sides: Mapping[str, dict[str, Path] | None], root: Path, what: str) -> bool:
    """Return whether the classes hold the sides.

    Raises:
        PccloraError: If some do and others do not: to pool what one keeps apart would test on training objects.
    """
    split = [name for name, sides in own_sides.items() if sides]
    whole = [name for name, sides in own_sides.items() if not sides]
    if split and whole:
        raise PccloraError(
            f"{what}: {root / split[0]} has a side to train and one to test on, {root / whole[0]} has not; give all "
            "classes both, or none"
        )
    return bool(split)


def _warn_of_sides(homes: Mapping[str, Path], root: Path, what: str) -> None:
    """Say where folders that are taken for classes look like sides: they hold folders, and no files of their own."""
    inside = {name: folders(home) for name, home in homes.items() if not any(map(_is_own_file, home.iterdir()))}
    looks = [name for name in inside if inside[name] and any(name.lower() in names for names in SIDES.values())]
    if not looks and len(inside) == len(homes) and len({tuple(own) for own in inside.values()}) == 1:
        looks = [name for name in inside if len(inside[name]) > 1]
    if looks:
        warnings.warn(
            f"{what}: {', '.join(looks)} in {root} taken for {'a class' if len(looks) == 1 else 'classes'}, though all "
            f"there is in {looks[0]} is folders ({', '.join(inside[looks[0]][:4])}): where these are the classes, call "
            "the sides train and test, or give the folder that holds the classes as root",
            stacklevel=2,
        )


def _warn_of_case(names: Sequence[str], root: Path, what: str) -> None:
    """Say so where two classes differ in case alone."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            warnings.warn(
                f"{what}: {other} and {name} in {root} are two classes; move them together if not", stacklevel=2
            )


def _is_own_file(path: Path) -> bool:
    return not path.is_dir() and not _of_a_system(path.name)


def _count_loose(holders: Collection[Path], suffixes: Collection[str], left_out: _LeftOut) -> None:
    """Count what lies beside classes or sides and belongs to none."""
    for path in (path for holder in sorted(holders) for path in sorted(holder.iterdir()) if _is_own_file(path)):
        if path.is_symlink() and not path.exists():
            left_out.add("links that lead nowhere", path)
        elif path.suffix.lower() in suffixes:
            left_out.add("files in no class folder", path)


def folders(root: Path) -> list[str]:
    """Return the names of the folders in one, sorted, in NFC, without those that systems leave there."""
    return sorted(same_name(path.name) for path in _folders(root))


def walk_files(folder: Path, suffixes: Collection[str]) -> tuple[list[Path], dict[str, tuple[int, Path]]]:
    """Return all readable files below a folder, sorted, and of what was left out why -> (how many, the first).

    Args:
        folder: Where to look; links to folders are followed, once each.
        suffixes: What the names of the files end with, in lower case.
    """
    left_out = _LeftOut()
    files = _readable(folder, suffixes, left_out)
    return files, {why: (count, left_out.first[why]) for why, count in left_out.counts.items()}


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not _of_a_system(path.name))
    except OSError as error:
        raise PccloraError(f"{folder}: cannot be listed: {error.strerror or error}; check its permissions") from error


def _of_a_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in OF_SYSTEMS


def _homes(parents: Sequence[Path], names: Sequence[str] | None, what: str) -> dict[str, Path]:
    """Return class -> its folder; a single class that is named may have its files in the parent itself."""
    homes: dict[str, Path] = {}
    for parent in parents:
        here: dict[str, Path] = {}
        for path in _folders(parent):
            name = same_name(path.name)
            if name in here:
                raise PccloraError(
                    f"{what}: {here[name]} and {path} are one name in two Unicode forms; rename one of them"
                )
            here[name] = path
        homes |= here
    if names is not None and len(names) == 1 and names[0] not in homes:
        return {names[0]: parents[0]}
    return homes


def _absent(name: str, parent: Path, homes: Collection[str], what: str) -> PccloraError:
    similar = next((other for other in homes if other.lower() == name.lower()), None)
    hint = f"; '{similar}' differs from it in case" if similar else did_you_mean(name, homes) if homes else ""
    return PccloraError(f"{what}: class '{name}' needs files, {parent / name} is absent{hint}")


def _split(found: list[list[Path]], split: str, test_fraction: float, split_seed: int) -> list[list[Path]]:
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found])
    sides = dict(zip(SPLITS, stratified_split(labels, test_fraction, split_seed), strict=True))
    files = [file for group in found for file in group]
    return [[files[i] for i in sides[split] if labels[i] == label] for label in range(len(found))]


def _files(folder: Path, what: str, suffixes: Collection[str], left_out: _LeftOut) -> list[Path]:
    own = _LeftOut()
    files = _readable(folder, suffixes, own)
    if not files:
        others = ", ".join(f"{count} {why}" for why, count in own.counts.items())
        raise PccloraError(
            f"{what}: a class needs files ({' '.join(suffixes)}), {folder} has none ({others or 'it is empty'}); add "
            "some, or move it away where it is no class"
        )
    for why, count in own.counts.items():
        left_out.add(why, own.first[why])
        left_out.counts[why] += count - 1
    return files


def _readable(folder: Path, suffixes: Collection[str], left_out: _LeftOut) -> list[Path]:
    files = []
    for path in _walk(folder, left_out):
        if path.is_symlink() and not path.exists():  # perhaps to a folder that is not there now
            left_out.add("links that lead nowhere", path)
        elif path.suffix.lower() not in suffixes:
            if path.name not in NAMES_FILES:
                left_out.add("files of other formats", path)
        elif not path.is_file():
            left_out.add("pipes and devices", path)
        else:
            files.append(path)
    return sorted(files)


def _walk(folder: Path, left_out: _LeftOut) -> Iterator[Path]:
    """Yield all that is no folder below one; a folder that links to one above it is entered once."""
    entered = {folder.resolve()}
    for here, inside, names in os.walk(folder, followlinks=True, onerror=_refuse):
        for name in [*inside, *names]:
            if _of_a_system(name):
                left_out.add("hidden or of the system", Path(here, name))
        inside[:] = [name for name in sorted(inside) if not _of_a_system(name) and _is_new(Path(here, name), entered)]
        yield from (Path(here, name) for name in names if not _of_a_system(name))


def _is_new(folder: Path, entered: set[Path]) -> bool:
    real = folder.resolve()
    new = real not in entered
    entered.add(real)
    return new


def _refuse(error: OSError) -> None:
    raise PccloraError(f"{error.filename}: cannot be listed: {error.strerror}; check its permissions") from error
