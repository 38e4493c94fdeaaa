"""``shapenetpart``: the part-annotated subset of ShapeNet, and any data set in the same form.

Yi et al., "A Scalable Active Framework for Region Annotation in 3D Shape Collections" (SIGGRAPH Asia 2016), in the form
of PointNet++, ``shapenetcore_partanno_segmentation_benchmark_v0_normal``: a text file an object, of seven columns. The
labels and the split are the official ones. Forms: a file made by ``pcclora prepare shapenetpart``, or the text tree.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import DataConfig, IntArray, Parts, check_split
from pcclora.data.readers.files import require_files, require_folder
from pcclora.data.readers.prepared_parts import open_prepared_parts
from pcclora.data.sets.part_dataset import PartDataset, PartRows
from pcclora.data.sets.shapenetpart_text import CARD, TextRows, read_list
from pcclora.errors import PccloraError
from pcclora.paths import is_file
from pcclora.registry import DATASETS

SPLITS = ("train", "val", "test")


@dataclass
class ShapeNetPartConfig(DataConfig):
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
    """The objects of an official list: (M) names ``<synset>/<id>``, clouds, classes, places; how many it lists."""

    class_names: tuple[str, ...]
    parts: Parts
    names: Sequence[str]
    rows: PartRows
    labels: IntArray
    places: Sequence[str]
    listed: int
    form: str
    files: Sequence[Path] | None = None


@DATASETS.register("shapenetpart", config=ShapeNetPartConfig)
def shapenetpart(config: ShapeNetPartConfig, *, split: str) -> PartDataset:
    """Open one split.

    Args:
        config: Where, and which form.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        PccloraError: If a list or a listed file is absent, or cannot be used.
    """
    check_split("shapenetpart", split, SPLITS)
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
        root=root,
        files=_files(shapes, chosen),
    )


def open_list(root: Path, split: str, config: ShapeNetPartConfig) -> Shapes:
    """Open the objects of one official list, in the form that the configuration asks for.

    Raises:
        PccloraError: As :func:`shapenetpart`.
    """
    file = prepared_file(root, split)
    if config.form == "prepared" or (config.form == "auto" and file.is_file()):
        return _open_prepared(file, split, config)
    class_names, parts, names, labels = read_list(root, split)
    what, files = f"shapenetpart {split}", [root / f"{name}.txt" for name in names]
    if not config.incomplete:
        require_files(files, what, f"complete the download ({CARD}), or use what is there with data.incomplete=true")
    present = [row for row, file in enumerate(files) if is_file(file)]
    if not present:
        raise PccloraError(f"{what}: none of {len(files)} files is there, as {files[0]}; {CARD}")
    _warn_of_absent(what, len(present), len(files))
    places = [str(files[row]) for row in present]
    there = [files[row] for row in present]
    listed = [names[row] for row in present]
    return Shapes(class_names, parts, listed, TextRows(there), labels[present], places, len(files), "text", files=there)


def _open_prepared(file: Path, split: str, config: ShapeNetPartConfig) -> Shapes:
    made = open_prepared_parts(file)
    if len(made.names) < made.listed and not config.incomplete:
        raise PccloraError(
            f"{file}: made of {len(made.names)} of {made.listed} listed objects; complete the download and run "
            "pcclora prepare again, or use what is there with data.incomplete=true"
        )
    _warn_of_absent(f"shapenetpart {split}", len(made.names), made.listed)
    places = [f"{file}[{name}]" for name in made.names]
    return Shapes(made.class_names, made.parts, made.names, made, made.labels, places, made.listed, "prepared")


def _warn_of_absent(what: str, present: int, listed: int) -> None:
    if present < listed:
        warnings.warn(f"{what}: {listed - present} of {listed} objects are absent and left out", stacklevel=2)


def prepared_file(root: Path, split: str) -> Path:
    """Return what ``pcclora prepare`` calls its file."""
    return root / f"shapenetpart_{split}.safetensors"


class JoinedRows:
    """Chosen clouds of several lists: ``chosen`` has (list, row) for each."""

    def __init__(self, lists: Sequence[PartRows], chosen: Sequence[tuple[int, int]]) -> None:
        self.lists, self.chosen = lists, chosen

    def __getitem__(self, index: int) -> tuple[NDArray[np.floating], IntArray]:
        which, row = self.chosen[index]
        return self.lists[which][row]


def _files(shapes: Sequence[Shapes], chosen: Sequence[tuple[int, int]]) -> list[Path] | None:
    """Return the file of each chosen object, or None where they are not files of their own."""
    if any(each.files is None for each in shapes):
        return None
    return [(shapes[side].files or ())[row] for side, row in chosen]


def _once(lists: list[list[str]]) -> list[tuple[int, int]]:
    """Return (list, row) of every name, the first time it comes: nine objects are in two official lists."""
    first: dict[str, tuple[int, int]] = {}
    for which, names in enumerate(lists):
        for row, name in enumerate(names):
            first.setdefault(name, (which, row))
    return list(first.values())
