"""ModelNet40 and ModelNet10 in the forms that they are passed around in, and any data set in the same h5 layout.

Wu et al., "3D ShapeNets: A Deep Representation for Volumetric Shapes", CVPR 2015. Forms, fastest first: a file made by
``pcclora prepare modelnet40``; the ``*_ply_hdf5_*`` files of PointNet; the ``*pts_fps.dat`` pickles of Point-BERT and
Point-MAE; the ``modelnet40_normal_resampled`` text tree of PointNet++. Clouds are centred and scaled as the peers do.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import DataConfig, check_split
from pcclora.data.readers import read_text
from pcclora.data.readers.class_lists import read_class_names
from pcclora.data.readers.files import read_lines, require_files, require_folder, unreadable
from pcclora.data.readers.hdf5 import list_files, read_clouds
from pcclora.data.readers.pickles import load_pickle
from pcclora.data.readers.prepared import open_prepared
from pcclora.data.sets.arrays import ArrayDataset
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.shipped import card

CARD = f"see {card('modelnet40')} for where it can be had"
SPLITS = ("train", "test")
MODELNET10 = ("bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet")
MODELNET40 = tuple(
    "airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain desk door dresser flower_pot "
    "glass_box guitar keyboard lamp laptop mantel monitor night_stand person piano plant radio range_hood sink sofa "
    "stairs stool table tent toilet tv_stand vase wardrobe xbox".split()
)


@dataclass
class ModelNetConfig(DataConfig):
    """Where ModelNet lies, and which of its forms to read.

    Attributes:
        root: The folder that holds the lists or h5 files.
        classes: 40 or 10; the h5 form goes by its own ``shape_names.txt`` where there is one.
        form: ``auto`` takes the first that is there: prepared, h5, dat, text.
        normalize: Centre each cloud and scale it into the unit sphere.
    """

    root: str = ""
    classes: int = 40
    form: Literal["auto", "prepared", "h5", "dat", "text"] = "auto"
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.classes not in (10, 40):
            raise PccloraError(f"classes is {self.classes}; ModelNet has 10 or 40")


@DATASETS.register("modelnet", config=ModelNetConfig)
def modelnet(config: ModelNetConfig, *, split: str) -> ArrayDataset:
    """Open one split; ``form`` of the result says which form was found.

    Args:
        config: Where, and which form.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If the root holds none of the forms, or its files cannot be used.
    """
    check_split("ModelNet", split, SPLITS)
    root = require_folder(config.root, f"ModelNet{config.classes}", CARD)
    form = find_form(root, config.classes, split) if config.form == "auto" else config.form
    match form:
        case "prepared":
            return _open_prepared(root, config, split)
        case "h5":
            return _open_h5(root, config, split)
        case "dat":
            return _open_dat(root, config, split)
        case _:
            return _open_text(root, config, split)


def find_form(root: Path, classes: int, split: str) -> str:
    """Return the fastest form of a split that ``root`` holds: prepared, h5, dat or text.

    Raises:
        PccloraError: If it holds none.
    """
    if prepared_file(root, classes, split).is_file():
        return "prepared"
    if (root / f"{split}_files.txt").is_file() or any(root.glob(f"ply_data_{split}*.h5")):
        return "h5"
    if dat_file(root, classes, split) is not None:
        return "dat"
    if (root / f"modelnet{classes}_{split}.txt").is_file():
        return "text"
    raise PccloraError(
        f"ModelNet{classes}: {root} has no {split} split in any form: no {split}_files.txt or ply_data_{split}*.h5, no "
        f"modelnet{classes}_{split}_8192pts_fps.dat, no modelnet{classes}_{split}.txt; {CARD}"
    )


def prepared_file(root: Path, classes: int, split: str) -> Path:
    """Return what ``pcclora prepare`` calls its file."""
    return root / f"modelnet{classes}_{split}.safetensors"


def dat_file(root: Path, classes: int, split: str) -> Path | None:
    """Return the pickle of a split with the most points, or None where there is none."""
    sizes = {
        int(found[1]): path
        for path in root.glob(f"modelnet{classes}_{split}_*pts_fps.dat")
        if (found := re.search(r"_(\d+)pts_fps", path.name))
    }
    return sizes[max(sizes)] if sizes else None


def object_files(root: Path, classes: int, split: str) -> tuple[list[Path], list[str], NDArray[np.int64]]:
    """Return the text files that the official lists name, present or not, the class names, and each file's class.

    Raises:
        PccloraError: If a list is absent, or names an object of no class.
    """
    class_names = read_class_names(root / f"modelnet{classes}_shape_names.txt")
    listed = root / f"modelnet{classes}_{split}.txt"
    owners = [(name.rpartition("_")[0], name) for name in read_lines(listed)]
    for owner, name in owners:
        if owner not in class_names:
            raise PccloraError(f"{listed}: '{name}' is of no class of modelnet{classes}_shape_names.txt; {CARD}")
    labels = np.array([class_names.index(owner) for owner, _ in owners], dtype=np.int64)
    return [root / owner / f"{name}.txt" for owner, name in owners], class_names, labels


class TextClouds:
    """Clouds (N, 6) of text files, one read at a time."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> NDArray[np.float64]:
        return read_text(self.files[index])


def _open_text(root: Path, config: ModelNetConfig, split: str) -> ArrayDataset:
    files, class_names, labels = object_files(root, config.classes, split)
    require_files(files, f"ModelNet{config.classes} {split}", CARD)
    return ArrayDataset(
        name="modelnet",
        split=split,
        class_names=class_names,
        clouds=TextClouds(files),
        labels=labels,
        places=[str(file) for file in files],
        normalize=config.normalize,
        form="text",
        root=root,
        files=files,
    )


def _open_dat(root: Path, config: ModelNetConfig, split: str) -> ArrayDataset:
    file = dat_file(root, config.classes, split)
    if file is None:
        raise PccloraError(
            f"ModelNet{config.classes}: {root} has no modelnet{config.classes}_{split}_8192pts_fps.dat; {CARD}"
        )
    clouds, labels = read_dat(file)
    names = root / f"modelnet{config.classes}_shape_names.txt"
    return ArrayDataset(
        name="modelnet",
        split=split,
        class_names=read_class_names(names) if names.is_file() else _known_names(config.classes),
        clouds=clouds,
        labels=labels,
        places=[f"{file}[{row}]" for row in range(len(clouds))],
        normalize=config.normalize,
        fps_ordered=True,
        form="dat",
        root=root,
    )


def read_dat(path: Path) -> tuple[list[NDArray[np.generic]], NDArray[np.int64]]:
    """Read Point-BERT's pickle: [list of (N, 6) arrays, list of labels of shape (1,)].

    Raises:
        PccloraError: If it is damaged, holds something else, or wants to run a program.
    """
    content = load_pickle(path)
    try:
        clouds, labels = content
        flat = np.array([np.asarray(label).reshape(()) for label in labels])
    except (TypeError, ValueError) as error:
        raise unreadable(path, f"expected [clouds, labels] with one label a cloud: {error}") from error
    arrays = isinstance(clouds, list) and clouds and all(isinstance(cloud, np.ndarray) for cloud in clouds)
    if not arrays or len(clouds) != len(flat) or flat.dtype.kind not in "iu":
        raise unreadable(path, "expected a list of point arrays and as many whole-number labels")
    return clouds, flat.astype(np.int64)


def _open_h5(root: Path, config: ModelNetConfig, split: str) -> ArrayDataset:
    what = f"ModelNet{config.classes} {split}"
    files = list_files(root, [f"{split}_files.txt"], f"ply_data_{split}*.h5", what, CARD)
    points, labels, _, places = read_clouds(files)
    names = root / "shape_names.txt"
    return ArrayDataset(
        name="modelnet",
        split=split,
        class_names=read_class_names(names) if names.is_file() else _known_names(config.classes),
        clouds=points,
        labels=labels,
        places=places,
        normalize=config.normalize,
        form="h5",
        root=root,
    )


def _open_prepared(root: Path, config: ModelNetConfig, split: str) -> ArrayDataset:
    file = prepared_file(root, config.classes, split)
    if not config.normalize:
        raise PccloraError(f"{file}: prepared clouds are normalised; set form to the original one for normalize=false")
    prepared = open_prepared(file)
    return ArrayDataset(
        name="modelnet",
        split=split,
        class_names=prepared.class_names,
        clouds=prepared.clouds,
        labels=prepared.labels,
        places=prepared.places,
        normalize=False,
        fps_ordered=True,
        form="prepared",
        root=root,
    )


def _known_names(classes: int) -> tuple[str, ...]:
    return MODELNET40 if classes == 40 else MODELNET10
