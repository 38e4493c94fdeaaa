"""The text tree of ShapeNetPart: a list of categories, lists of objects, a file of seven columns for each object."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcclora.data.base import FloatArray, IntArray, Parts
from pcclora.data.readers import read_text
from pcclora.data.readers.class_lists import check_distinct, load_table
from pcclora.data.readers.files import read_lines, require_files, unreadable
from pcclora.data.sets.seg_classes import find_parts, read_seg_classes, shapenetpart_parts
from pcclora.errors import PccloraError
from pcclora.shipped import card

CARD = f"see {card('shapenetpart')}"
COLUMNS = "x y z, normal, part label: the form that is called v0_normal"


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
    check_distinct(class_names, synsets)
    content = load_table(listed)
    if not isinstance(content, list) or not content or not all(isinstance(path, str) for path in content):
        raise unreadable(listed, 'a list of names is expected, ["shape_data/02691156/<id>", ...]; no names in it')
    paths = [path.split("/") for path in content]
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
