"""``partseg_h5``: PointNet's part-segmentation h5 form, for classification; part labels come along in each sample.

The layout of ``shapenet_part_seg_hdf5_data`` (Qi et al., "PointNet", CVPR 2017): ``data`` (M, N, 3), ``label`` (M, 1),
``pid`` (M, N), file lists ``{train,val,test}_hdf5_file_list.txt``, class names in ``all_object_categories.txt`` or as
the keys of ``seg_classes.json``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pcclora.data.arrays import ArrayDataset
from pcclora.data.files import read_lines, require_folder, unreadable
from pcclora.data.hdf5 import list_files, read_clouds
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

SPLITS = ("train", "val", "test")
LAYOUT = "expected {train,val,test}_hdf5_file_list.txt, the h5 files, and seg_classes.json or all_object_categories.txt"


@dataclass
class PartSegH5Config:
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
def partseg_h5(config: PartSegH5Config, *, split: str) -> ArrayDataset:
    """Open one split.

    Args:
        config: Where.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        PccloraError: If the files are absent or cannot be used.
    """
    if split not in SPLITS:
        raise PccloraError(f"partseg_h5: no split '{split}'; there are {', '.join(SPLITS)}")
    root = require_folder(config.root, "partseg_h5", LAYOUT)
    parts = ("train", "val") if split == "train" and config.train_with_val else (split,)
    files = [
        file
        for part in parts
        for file in list_files(
            root, [f"{part}_hdf5_file_list.txt"], f"ply_data_{part}*.h5", f"partseg_h5 {part}", LAYOUT
        )
    ]
    points, labels, part_labels, places = read_clouds(files, parts=True)
    return ArrayDataset(
        name="partseg_h5",
        split=split,
        class_names=_class_names(root),
        clouds=points,
        labels=labels,
        places=places,
        normalize=config.normalize,
        part_labels=part_labels,
        form="h5",
    )


def _class_names(root: Path) -> list[str]:
    categories, parts = root / "all_object_categories.txt", root / "seg_classes.json"
    if categories.is_file():  # its line order is the label; "Airplane<TAB>02691156"
        return [line.split()[0] for line in read_lines(categories)]
    try:
        return list(json.loads(parts.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise unreadable(parts, error) from error
