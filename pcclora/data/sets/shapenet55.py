"""``shapenet55``: the clouds that Point-BERT and Point-MAE are pre-trained on, in their released form.

Yu et al., "PoinTr" and "Point-BERT" (arXiv 2111.14819): ``ShapeNet-55/{train,test}.txt`` list 41,952 / 10,518 files
``<synset>-<id>.npy`` of (8192, 3) points, which lie in ``shapenet_pc``. The class of an object is its synset.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import DataConfig, check_split
from pcclora.data.readers.files import read_lines, require_files, require_folder, unreadable
from pcclora.data.sets.arrays import ArrayDataset
from pcclora.paths import check_regular
from pcclora.registry import DATASETS
from pcclora.shipped import card

SPLITS = ("train", "test")
CARD = f"see {card('shapenet55')}"


@dataclass
class ShapeNet55Config(DataConfig):
    """Where ShapeNet-55 lies.

    Attributes:
        root: The folder of ``ShapeNet-55`` and ``shapenet_pc``.
        whole: Train on the objects of both lists, as Point-BERT does.
        normalize: Centre each cloud and scale it into the unit sphere.
    """

    root: str = ""
    whole: bool = False
    normalize: bool = True


class NpyClouds:
    """Clouds (8192, 3) of npy files, one mapped at a time."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> NDArray[np.generic]:
        check_regular(self.files[index])
        try:
            return np.asarray(np.load(self.files[index], mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise unreadable(self.files[index], error) from error


@DATASETS.register("shapenet55", config=ShapeNet55Config)
def shapenet55(config: ShapeNet55Config, *, split: str) -> ArrayDataset:
    """Open one split.

    Args:
        config: Where.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If a list or any listed file is absent.
    """
    check_split("shapenet55", split, SPLITS)
    root = require_folder(config.root, "shapenet55", CARD)
    listed = {part: read_lines(root / "ShapeNet-55" / f"{part}.txt") for part in SPLITS}
    names = [*listed["train"], *listed["test"]] if config.whole and split == "train" else listed[split]
    files = [root / "shapenet_pc" / name for name in names]
    require_files(files, f"shapenet55 {split}", CARD)
    synsets = sorted({name.partition("-")[0] for part in SPLITS for name in listed[part]})
    return ArrayDataset(
        name="shapenet55",
        split=split,
        class_names=synsets,
        clouds=NpyClouds(files),
        labels=np.array([synsets.index(name.partition("-")[0]) for name in names], dtype=np.int64),
        places=[str(file) for file in files],
        normalize=config.normalize,
        form="npy",
        root=root,
        files=files,
    )
