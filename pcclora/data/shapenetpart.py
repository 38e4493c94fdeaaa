"""``shapenetpart``: the part-annotated subset of ShapeNet, and any data set in the same form.

Yi et al., "A Scalable Active Framework for Region Annotation in 3D Shape Collections" (SIGGRAPH Asia 2016), in the form
of PointNet++, ``shapenetcore_partanno_segmentation_benchmark_v0_normal``: a text file an object, of seven columns. The
labels and the split are the official ones. Forms: a file made by datasets/shapenetpart/prepare.py, or the text tree.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from pcclora.data.base import FloatArray, IntArray, Parts
from pcclora.data.files import read_lines, require_files, require_folder, unreadable
from pcclora.data.part_dataset import PartDataset, PartRows
from pcclora.data.prepared_parts import open_prepared_parts
from pcclora.data.readers import read_text
from pcclora.data.seg_classes import find_parts, read_seg_classes, shapenetpart_parts
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

CARD = "see datasets/shapenetpart/README.md"
SPLITS = ("train", "val", "test")
COLUMNS = "x y z, normal, part label: the form that is called v0_normal"


@dataclass
class ShapeNetPartConfig:
    """Where ShapeNetPart lies, and which of its forms to read.

    Attributes:
        root: The folder of ``synsetoffset2category.txt`` and ``train_test_split``.
        train_with_val: Add the validation objects to the training split, as the papers do.
        form: ``auto`` takes the prepared file where there is one.
        incomplete: Use the listed objects that are there, with a warning; else an absent one is an error.
        normalize: Centre each cloud and scale it into the unit sphere.
    """

    root: str = ""
    train_with_val: bool = False
    form: Literal["auto", "prepared", "text"] = "auto"
    incomplete: bool = False
    normalize: bool = True


class Shapes(NamedTuple):
    """The objects of one official list: (M) names ``<synset>/<id>``, their clouds, classes and places."""

    class_names: tuple[str, ...]
    parts: Parts
    names: Sequence[str]
    rows: PartRows
    labels: IntArray
    places: Sequence[str]
    form: str


@DATASETS.register("shapenetpart", config=ShapeNetPartConfig)
def shapenetpart(config: ShapeNetPartConfig, *, split: str) -> PartDataset:
    """Open one split.

    Args:
        config: Where, and which form.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        PccloraError: If a list or a listed file is absent, or cannot be used.
    """
    if split not in SPLITS:
        raise PccloraError(f"shapenetpart: no split '{split}'; there are {', '.join(SPLITS)}")
    root = require_folder(config.root, "shapenetpart", CARD)
    with_val = split == "train" and config.train_with_val
    shapes = [open_list(root, part, config) for part in (("train", "val") if with_val else (split,))]
    chosen = _once([list(each.names) for each in shapes])
    return PartDataset(
        name="shapenetpart",
        split=split,
        class_names=shapes[0].class_names,
        rows=JoinedRows([each.rows for each in shapes], chosen),
        labels=np.array([shapes[side].labels[row] for side, row in chosen], dtype=np.int64),
        places=[shapes[side].places[row] for side, row in chosen],
        normalize=config.normalize,
        parts=shapes[0].parts,
        form=shapes[0].form,
    )


def open_list(root: Path, split: str, config: ShapeNetPartConfig) -> Shapes:
    """Open the objects of one official list, in the form that the configuration asks for.

    Raises:
        PccloraError: As :func:`shapenetpart`.
    """
    file = prepared_file(root, split)
    if config.form == "prepared" or (config.form == "auto" and file.is_file()):
        prepared = open_prepared_parts(file)
        places = [f"{file}[{name}]" for name in prepared.names]
        return Shapes(
            prepared.class_names, prepared.parts, prepared.names, prepared, prepared.labels, places, "prepared"
        )
    class_names, parts, names, labels = read_list(root, split)
    files = [root / f"{name}.txt" for name in names]
    present = _present(files, f"shapenetpart {split}", incomplete=config.incomplete)
    files, names = [files[row] for row in present], [names[row] for row in present]
    return Shapes(class_names, parts, names, TextRows(files), labels[present], [str(file) for file in files], "text")


def prepared_file(root: Path, split: str) -> Path:
    """Return what prepare.py calls its file."""
    return root / f"shapenetpart_{split}.safetensors"


def read_list(root: Path, split: str) -> tuple[tuple[str, ...], Parts, list[str], IntArray]:
    """Read an official list.

    Returns:
        Class names, their parts, and (M) names ``<synset>/<id>`` of the objects, present or not, with their classes.

    Raises:
        PccloraError: If a file is absent or damaged, or an object is of no class.
    """
    synsets, listed = root / "synsetoffset2category.txt", root / f"train_test_split/shuffled_{split}_file_list.json"
    require_files([synsets, listed], f"shapenetpart {split}", CARD)
    rows = [line.split() for line in read_lines(synsets)]  # its line order is the class label
    class_names, of_synset = tuple(row[0] for row in rows), {row[-1]: label for label, row in enumerate(rows)}
    try:
        paths = [str(path).split("/") for path in json.loads(listed.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(listed, error) from error
    for path in paths:
        if len(path) < 2 or path[-2] not in of_synset:
            raise PccloraError(f"{listed}: '{'/'.join(path)}' is of no class of {synsets.name}; {CARD}")
    labels = np.array([of_synset[path[-2]] for path in paths], dtype=np.int64)
    return class_names, _parts(root, class_names), ["/".join(path[-2:]) for path in paths], labels


def read_shape(path: Path) -> tuple[FloatArray, IntArray]:
    """Read one object: points (N, 3) and part labels (N,).

    Raises:
        PccloraError: If it has not seven columns of which the last is a whole number.
    """
    table = read_text(path)
    if table.shape[1] != 7:
        raise PccloraError(f"{path}: {table.shape[1]} columns; 7 are expected ({COLUMNS})")
    part_labels = table[:, 6]
    odd = np.flatnonzero(~(np.isfinite(part_labels) & (part_labels == np.rint(part_labels))))
    if odd.size:
        raise PccloraError(f"{path}: part label {part_labels[odd[0]]} at point {odd[0]} is no whole number ({COLUMNS})")
    return table[:, :3].astype(np.float32), part_labels.astype(np.int64)


class TextRows:
    """Clouds of text files, one read at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __getitem__(self, index: int) -> tuple[FloatArray, IntArray]:
        return read_shape(self.files[index])


class JoinedRows:
    """Chosen clouds of several lists: ``chosen`` has (list, row) for each."""

    def __init__(self, lists: Sequence[PartRows], chosen: Sequence[tuple[int, int]]) -> None:
        self.lists, self.chosen = lists, chosen

    def __getitem__(self, index: int) -> tuple[FloatArray, IntArray]:
        which, row = self.chosen[index]
        points, part_labels = self.lists[which][row]
        return points.astype(np.float32, copy=False), part_labels


def _once(lists: list[list[str]]) -> list[tuple[int, int]]:
    """Return (list, row) of every name, the first time it comes: nine objects are in two official lists."""
    first: dict[str, tuple[int, int]] = {}
    for which, names in enumerate(lists):
        for row, name in enumerate(names):
            first.setdefault(name, (which, row))
    return list(first.values())


def _parts(root: Path, class_names: tuple[str, ...]) -> Parts:
    file = root / "seg_classes.json"
    if file.is_file():
        return find_parts(class_names, read_seg_classes(file), file)
    parts = shapenetpart_parts(class_names)
    if parts is None:
        raise PccloraError(
            f"{file}: absent, and these classes are not ShapeNetPart's; it must say which part labels each class has, "
            '{"class": [0, 1], ...}'
        )
    return parts


def _present(files: list[Path], what: str, *, incomplete: bool) -> list[int]:
    """Return the rows of the files that are there; others are an error, or a warning."""
    if not incomplete:
        require_files(files, what, f"complete the download ({CARD}), or use what is there with data.incomplete=true")
    present = [row for row, file in enumerate(files) if file.is_file()]
    if not present:
        raise PccloraError(f"{what}: none of {len(files)} files is there, as {files[0]}; {CARD}")
    if len(present) < len(files):
        warnings.warn(
            f"{what}: {len(files) - len(present)} of {len(files)} files are absent and left out", stacklevel=2
        )
    return present
