"""``part_folder``: the user's own clouds whose points have part labels, and a file that names the parts.

``parts.yaml`` (or ``.yml``, ``.json``) in the root says ``category: [part, part, ...]``; a point's label is the part's
place in that list, from 0, in every file of the category. The folders are those of :mod:`pcclora.data.sets.layouts`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora.config import read_yaml
from pcclora.data.base import IntArray, Parts
from pcclora.data.readers import read_scan
from pcclora.data.readers.files import require_folder
from pcclora.data.readers.scan import LABEL_NAMES
from pcclora.data.readers.up_axis import turn_upright
from pcclora.data.sets.folder import FolderConfig, thin
from pcclora.data.sets.layouts import NAMES_FILES, find_files, folders, side_folders
from pcclora.data.sets.part_dataset import PartDataset
from pcclora.data.sets.seg_classes import number_parts
from pcclora.errors import PccloraError, did_you_mean
from pcclora.registry import DATASETS
from pcclora.shipped import card
from pcclora.text import same_name

CARD = f"see {card('part_folder')}"


@dataclass
class PartFolderConfig(FolderConfig):
    """Where the files lie, and how they are read: as :class:`pcclora.data.FolderConfig`, but more points are kept."""

    points: int = 65536


@DATASETS.register("part_folder", config=PartFolderConfig)
def part_folder(config: PartFolderConfig, *, split: str) -> PartDataset:
    """Open one split.

    Args:
        config: Where.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If the names file is absent or cannot be used, or a category has no folder or no file.
    """
    root = require_folder(config.root, "part_folder", CARD)
    named = read_names(root)
    _refuse_unnamed(root, named)
    found = find_files(
        root,
        split,
        what="part_folder",
        test_fraction=config.test_fraction,
        split_seed=config.split_seed,
        names=list(named),
    )
    parts = number_parts(named)
    return PartDataset(
        name="part_folder",
        split=split,
        class_names=found.class_names,
        rows=LabelledFiles(found.files, found.labels, parts, config),
        labels=found.labels,
        places=[str(file) for file in found.files],
        normalize=config.normalize,
        parts=parts,
        form="files",
        cache=config.cache,
        root=root,
        files=found.files,
        features=config.features,
    )


def read_names(root: Path) -> dict[str, list[str]]:
    """Read the names file: category -> names of its parts, in the order of their labels.

    Raises:
        PccloraError: If there is none, or it says something else.
    """
    file = next((root / name for name in NAMES_FILES if (root / name).is_file()), None)
    if file is None:
        raise PccloraError(
            f"part_folder: {root} has no {NAMES_FILES[0]} with lines as 'chair: [back, seat, leg]'; {CARD}"
        )
    content = read_yaml(file, words=True)
    for category, parts in content.items():
        if (
            not isinstance(parts, list)
            or not parts
            or not all(isinstance(part, str) and part.strip() for part in parts)
        ):
            raise PccloraError(f"{file}: '{category}' must have a list of part names, found {parts!r}")
        if len(set(map(same_name, parts))) < len(parts):
            raise PccloraError(f"{file}: '{category}' names a part twice: {parts}")
    if not content:
        raise PccloraError(f"{file}: no category in it; write lines as 'chair: [back, seat, leg]'")
    return {same_name(category): parts for category, parts in content.items()}


class LabelledFiles:
    """Clouds of files whose labels count from 0 in each category, one read at a time.

    Args:
        files: (M).
        classes: (M,) category of each.
        parts: What each category is made of.
        config: How they are read.
    """

    def __init__(self, files: list[Path], classes: IntArray, parts: Parts, config: PartFolderConfig) -> None:
        self.files, self.classes, self.parts, self.config = files, classes, parts, config

    def __getitem__(self, index: int) -> tuple[NDArray[np.float64], IntArray]:
        file, own = self.files[index], self.parts.of_class[self.classes[index]]
        scan = read_scan(file, columns=self.config.columns or None, features=self.config.features)
        if scan.labels is None:
            raise PccloraError(
                f"{file}: no part labels (whole numbers from 0, -1 is none): in ply, pcd and las a property, in npz an "
                f"array, called {', '.join(LABEL_NAMES)}; in npy and text the column that a header or "
                "data.columns=[x, y, z, ..., label] names, else the last of 4, 7, 8, 10 or 11"
            )
        wrong = np.flatnonzero(scan.labels >= len(own))
        if wrong.size:
            from_one = "; do they count from 1?" if scan.labels.min() == 1 and scan.labels.max() == len(own) else ""
            raise PccloraError(
                f"{file}: part label {scan.labels[wrong[0]]} at point {wrong[0]} ({wrong.size} such points); the names "
                f"file has 0..{len(own) - 1}: {', '.join(self.parts.names[part] for part in own)}{from_one}"
            )
        kept = thin(len(scan.points), self.config.points)
        rows = turn_upright(scan.rows[kept], self.config.up, self.config.features)
        return rows, own[0] + scan.labels[kept]


def _refuse_unnamed(root: Path, named: dict[str, list[str]]) -> None:
    sides = side_folders(root, "part_folder")
    for parent in sides.values() if sides else [root]:
        for name in folders(parent):
            if name not in named:
                raise PccloraError(
                    f"part_folder: the names file has no parts of {parent / name}{did_you_mean(name, named)}"
                )
