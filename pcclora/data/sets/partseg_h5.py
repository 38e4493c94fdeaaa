"""``partseg_h5``: PointNet's part-segmentation h5 form; its samples have a class, and a part for each point.

The layout of ``shapenet_part_seg_hdf5_data`` (Qi et al., "PointNet", CVPR 2017): ``data`` (M, N, 3), ``label`` (M, 1),
``pid`` (M, N), file lists ``{train,val,test}_hdf5_file_list.txt``, class names in ``all_object_categories.txt`` or as
the keys of ``seg_classes.json``; which class has which part is in the latter or in ``overallid_to_catid_partid.json``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pcclora.data.base import DataConfig, IntArray, Parts, check_split
from pcclora.data.readers.class_lists import check_distinct, load_table
from pcclora.data.readers.files import read_lines, require_folder, unreadable
from pcclora.data.readers.hdf5 import list_files, read_clouds
from pcclora.data.sets.part_dataset import PartDataset
from pcclora.data.sets.seg_classes import MOST_PARTS, find_parts, read_seg_classes, shapenetpart_parts
from pcclora.registry import DATASETS

SPLITS = ("train", "val", "test")
LAYOUT = "expected {train,val,test}_hdf5_file_list.txt, the h5 files, and seg_classes.json or all_object_categories.txt"


@dataclass
class PartSegH5Config(DataConfig):
    """Where the files lie.

    Attributes:
        root: The folder of the file lists.
        train_with_val: Add the validation objects to the training split, as the part-segmentation papers do.
        normalize: Centre each cloud and scale it into the unit sphere.
    """

    root: str = ""
    train_with_val: bool = False
    normalize: bool = True


@DATASETS.register("partseg_h5", config=PartSegH5Config)
def partseg_h5(config: PartSegH5Config, *, split: str) -> PartDataset:
    """Open one split.

    Args:
        config: Where.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        PccloraError: If the files are absent or cannot be used.
    """
    check_split("partseg_h5", split, SPLITS)
    root = require_folder(config.root, "partseg_h5", LAYOUT)
    sides = ("train", "val") if split == "train" and config.train_with_val else (split,)
    files = [
        file
        for side in sides
        for file in list_files(
            root, [f"{side}_hdf5_file_list.txt"], f"ply_data_{side}*.h5", f"partseg_h5 {side}", LAYOUT
        )
    ]
    points, labels, part_labels, places = read_clouds(files, parts=True)
    class_names, parts = _classes(root)
    return PartDataset(
        name="partseg_h5",
        split=split,
        class_names=class_names,
        rows=list(zip(points, cast("IntArray", part_labels), strict=True)),
        labels=labels,
        places=places,
        normalize=config.normalize,
        parts=parts,
        form="h5",
        root=root,
    )


def _classes(root: Path) -> tuple[list[str], Parts | None]:
    """Return the names of the classes and what they are made of, if any file says it."""
    categories, seg_classes = root / "all_object_categories.txt", root / "seg_classes.json"
    if not categories.is_file():
        labels = read_seg_classes(seg_classes)
        return list(labels), find_parts(list(labels), labels, seg_classes)
    rows = [line.split() for line in read_lines(categories)]  # the order is the label; "Airplane<TAB>02691156"
    names = [row[0] for row in rows]
    check_distinct(names, categories)
    if seg_classes.is_file():
        return names, find_parts(names, read_seg_classes(seg_classes), seg_classes)
    numbered = root / "overallid_to_catid_partid.json"
    if numbered.is_file():
        labels = _labels_of_synsets(numbered)
        return names, find_parts(names, {row[0]: labels.get(row[-1], ()) for row in rows}, numbered)
    return names, shapenetpart_parts(names)


def _labels_of_synsets(path: Path) -> dict[str, tuple[int, ...]]:
    """Read PointNet's ``[["02691156", 0], ...]``: the part label is the row."""
    rows = load_table(path)
    plain = isinstance(rows, list) and all(
        isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) for row in rows
    )
    if not plain or len(rows) > MOST_PARTS:
        raise unreadable(path, f'up to {MOST_PARTS:,} rows of a category and a part are expected, ["02691156", 0]')
    labels: dict[str, tuple[int, ...]] = {}
    for label, (synset, _) in enumerate(rows):
        labels[synset] = (*labels.get(synset, ()), label)
    return labels
