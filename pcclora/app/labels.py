"""The labels of scans on the disk: a part folder that grows as scans are finished, and drafts of the others.

::

    FOLDER/parts.yaml             class -> names of its parts, as the data set part_folder reads it
    FOLDER/chair/scan_07.ply      a finished scan: all of its points, each with its label; FOLDER/train/chair/... where
                                  the folder has sides
    FOLDER/.drafts/chair/scan_07.safetensors     labels of a scan that is not finished, -1 where there is none yet
    FOLDER/.drafts/parts.yaml     classes that have no finished scan yet: a data set needs scans of each that it names

A finished scan is one whose every point has a label that a person has made or looked at: nothing else is trained on.
Whatever is written is whole or not there, and a draft is written before the file that it becomes is changed, so a kill
at any moment loses nothing but the step that was under way.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pcclora.app.scans import OpenScan
from pcclora.atomic import make_folder, write_text, writing
from pcclora.data import read_scan
from pcclora.data.base import IntArray
from pcclora.data.sets.layouts import NAMES_FILES, SIDES, side_folders
from pcclora.data.sets.part_folder import read_names
from pcclora.errors import PccloraError
from pcclora.paths import is_file
from pcclora.runs.segmented import SegmentedCloud
from pcclora.tensor_file import read_tensors, write_tensors
from pcclora.text import same_name
from pcclora.vis.ply import write_ply
from pcclora.yaml_words import to_text

UNLABELLED = -1
MOST_PARTS = 100
"""Parts of one class: enough for a person, few enough for a file of bytes."""
_FORBIDDEN = set('/\\:*?"<>|')


@dataclass(frozen=True)
class Labelling:
    """What is known of one scan; a step makes another one.

    Attributes:
        category: Its class, or empty where it is not said yet.
        labels: (n,) the part of each point that is shown, from 0 within the category, -1 where there is none.
        checked: A person has made or looked at all of it; False of what a run has proposed.
    """

    category: str
    labels: NDArray[np.int16]
    checked: bool = True

    @property
    def share(self) -> float:
        """Which share of the points has a label."""
        return float((self.labels != UNLABELLED).mean())

    @property
    def finished(self) -> bool:
        """Whether it can be trained on."""
        return bool(self.category) and self.checked and bool((self.labels != UNLABELLED).all())


class LabelFolder:
    """Names and labels on the disk.

    Args:
        root: The folder; it is made when the first name is.

    Raises:
        PccloraError: If it is no such folder, or what it has cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root, self._drafts = root, root / ".drafts"
        if root.exists() and not root.is_dir():
            raise PccloraError(f"--labels {root}: is a file; labels are written into a folder")
        sides = side_folders(root, "labels") if root.is_dir() else None
        self._home = sides["train"] if sides else root
        self._named: set[str] = set()
        self.names: dict[str, list[str]] = {}
        for place in (root, self._drafts):
            if any(is_file(place / name) for name in NAMES_FILES):
                self.names |= read_names(place)
                self._named = self._named or set(self.names)
        self._owners: dict[Path, str] = {}  # file -> whose labels it has, as far as that was looked at

    def add_category(self, name: str) -> str:
        """Note a class; its parts come later.

        Returns:
            Its name as it is written.

        Raises:
            PccloraError: If no folder can be called so, or there is such a class.
        """
        name = _good_name("class", name, self.names)
        if (
            set(name) & _FORBIDDEN
            or name.startswith(".")
            or name.lower() in {side for s in SIDES.values() for side in s}
        ):
            raise PccloraError(
                f"class '{name}': its folder gets this name; choose plain words other than train and test"
            )
        self.names[name] = []
        return name

    def add_part(self, category: str, name: str) -> int:
        """Note a part, behind those that there are, so that no label changes its meaning.

        Returns:
            Its label.

        Raises:
            PccloraError: If the name is none or is taken, or there are too many.
        """
        parts = self.names[category]
        if len(parts) >= MOST_PARTS:
            raise PccloraError(f"class '{category}' has {MOST_PARTS} parts; no more can be told apart")
        parts.append(_good_name("part", name, parts))
        self._write_names()
        return len(parts) - 1

    def find(self, scan: OpenScan) -> Labelling | None:
        """Return what is known of a scan, or None.

        Raises:
            PccloraError: If a label file cannot be used: damaged, or with labels of parts that have no name.
        """
        for category in self.names:
            if (found := self._draft(category, scan)) or (found := self._finished(category, scan)):
                return found
        return None

    def save(self, scan: OpenScan, labelling: Labelling) -> None:
        """Keep a step: as a draft, or in the part folder if it is finished.

        Args:
            scan: The scan.
            labelling: What is known of it now; without a class there is nothing to keep.

        Raises:
            PccloraError: If a file cannot be written, or is of another scan. Then nothing is changed.
        """
        if not labelling.category:
            self._remove(scan)
            return
        target, draft = self._places(labelling.category, scan)
        for path in (target, draft):
            self._claim(path, scan)
        make_folder(draft.parent)
        header = {"scan": scan.digest, "checked": str(labelling.checked)}
        write_tensors(draft, {"labels": torch.from_numpy(labelling.labels)}, header)
        if labelling.finished:
            self._write(target, scan, labelling)
            self._remove(scan, but=target)
        else:
            self._remove(scan, but=draft)

    def finished(self) -> dict[str, int]:
        """Return how many finished scans each class has; those that have none are left out."""
        counts = {name: len(list((self._home / name).glob("*.ply"))) for name in self.names}
        return {name: count for name, count in counts.items() if count}

    def holds(self, path: Path) -> bool:
        """Return whether a file lies in the folder itself."""
        return path.resolve().is_relative_to(self.root.resolve())

    def _places(self, category: str, scan: OpenScan) -> tuple[Path, Path]:
        stem = scan.path.stem
        return self._home / category / f"{stem}.ply", self._drafts / category / f"{stem}.safetensors"

    def _draft(self, category: str, scan: OpenScan) -> Labelling | None:
        path = self._places(category, scan)[1]
        held, header = read_tensors(path, remedy="delete it to label the scan anew") if is_file(path) else ({}, {})
        if header.get("scan") != scan.digest:
            return None
        labels = held["labels"].numpy()
        return self._taken(path, category, scan, Labelling(category, labels, header.get("checked") == "True"))

    def _finished(self, category: str, scan: OpenScan) -> Labelling | None:
        path = self._places(category, scan)[0]
        labels = _labels_of(path, scan) if is_file(path) else None
        if labels is None:
            return None
        return self._taken(path, category, scan, Labelling(category, labels[scan.kept].astype(np.int16)))

    def _taken(self, path: Path, category: str, scan: OpenScan, found: Labelling) -> Labelling:
        """Return what was found in a file of a scan, if it fits, and note whose the file is."""
        self._owners[path] = scan.digest
        parts, labels = self.names[category], found.labels
        if labels.shape != (len(scan),) or labels.max() >= len(parts) or labels.min() < UNLABELLED:
            raise PccloraError(
                f"{path}: does not fit: {len(labels)} labels up to {labels.max(initial=-1)} for {len(scan)} points and "
                f"the parts 0..{len(parts) - 1} of {category} ({', '.join(parts)}); name the others in parts.yaml, or "
                "delete it"
            )
        return found

    def _claim(self, path: Path, scan: OpenScan) -> None:
        """Refuse to write over what is known of another scan.

        Raises:
            PccloraError: Naming both.
        """
        if self._owners.get(path) != scan.digest and (path in self._owners or not self._is_of(path, scan)):
            raise PccloraError(
                f"{path}: has the labels of another cloud than {scan.path}; rename one of the two scans, or choose "
                "another --labels"
            )
        self._owners[path] = scan.digest

    def _is_of(self, path: Path, scan: OpenScan) -> bool:
        """Return whether a file is absent or of a scan."""
        if not is_file(path):
            return True
        if path.suffix == ".ply":
            return _labels_of(path, scan) is not None
        return read_tensors(path, remedy="delete it")[1].get("scan") == scan.digest

    def _write(self, target: Path, scan: OpenScan, labelling: Labelling) -> None:
        if labelling.category not in self._named:
            self._named.add(labelling.category)
            self._write_names()
        names = tuple(self.names[labelling.category])
        make_folder(target.parent)
        cloud = SegmentedCloud(
            points=scan.whole.points,
            category=labelling.category,
            part_names=names,
            parts=tuple(range(len(names))),
            truth=scan.of_all(labelling.labels),
            colors=scan.whole.colors,
        )
        write_ply(cloud, target)

    def _remove(self, scan: OpenScan, *, but: Path | None = None) -> None:
        """Remove what other classes or another state have of a scan."""
        for path in [path for path, owner in self._owners.items() if owner == scan.digest and path != but]:
            with writing(path):
                path.unlink(missing_ok=True)
            del self._owners[path]

    def _write_names(self) -> None:
        given = {name: parts for name, parts in self.names.items() if parts}
        make_folder(self._drafts)
        write_text(self._drafts / NAMES_FILES[0], to_text(given))
        if self._named:
            file = next(
                (self.root / name for name in NAMES_FILES if is_file(self.root / name)), self.root / NAMES_FILES[0]
            )
            write_text(file, to_text({name: parts for name, parts in given.items() if name in self._named}))


def _good_name(what: str, name: str, others: "dict[str, list[str]] | list[str]") -> str:
    name = same_name(name.strip())
    if not name or not name.isprintable() or len(name) > 60:
        raise PccloraError(f"{what} '{name}': a name of 1 to 60 letters is needed")
    if name.casefold() in {other.casefold() for other in others}:
        raise PccloraError(f"{what} '{name}': there is one of this name")
    return name


def _labels_of(path: Path, scan: OpenScan) -> IntArray | None:
    """Return the labels (N,) that a file has of a scan's points, or None if they are another cloud's."""
    held, own = read_scan(path), scan.whole.points
    if held.points.shape != own.shape or held.labels is None:
        return None
    near = 1e-4 * float(np.ptp(own, axis=0).max())
    return held.labels if np.abs(held.points - own).max() <= near else None
