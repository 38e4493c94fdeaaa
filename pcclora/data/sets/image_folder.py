"""``image_folder``: the user's own images, one folder a class, in any layout of :mod:`pcclora.data.sets.layouts`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pcclora.data.base import DataConfig, ImageDataset, ImageSample, check_test_fraction, stratified_split
from pcclora.data.readers.files import require_folder
from pcclora.data.readers.images import IMAGE_SUFFIXES, read_image
from pcclora.data.sets.layouts import SPLITS, find_files
from pcclora.registry import DATASETS


@dataclass
class ImageFolderConfig(DataConfig):
    """Where the images lie, and how they are split.

    Attributes:
        root: The folder of the classes, or of ``train`` and ``test``.
        test_fraction: Share of each class that is tested on, where the folders do not say it.
        split_seed: Another seed, another split.
        tuning: Split the training images, to choose settings: the test images are left alone.
    """

    root: str = ""
    test_fraction: float = 0.2
    split_seed: int = 0
    tuning: bool = False

    def __post_init__(self) -> None:
        check_test_fraction(self.test_fraction)


@DATASETS.register("image_folder", config=ImageFolderConfig)
class ImageFolderDataset(ImageDataset):
    """Images of any format that :func:`pcclora.data.read_image` reads, in sorted order.

    Args:
        config: Where.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If there is no root, no class, or a class without an image.
    """

    name = "image_folder"
    files: Sequence[Path]

    def __init__(self, config: ImageFolderConfig, *, split: str) -> None:
        root = require_folder(config.root, "image_folder", "one folder of images a class is expected in it")
        self.config, self.split = config, split
        found = find_files(
            root,
            "train" if config.tuning and split in SPLITS else split,
            what="image_folder",
            test_fraction=config.test_fraction,
            split_seed=config.split_seed,
            suffixes=IMAGE_SUFFIXES,
        )
        self.root, self.class_names, self.files, self.labels = str(root), found.class_names, found.files, found.labels
        if config.tuning:
            sides = stratified_split(self.labels, config.test_fraction, config.split_seed)
            chosen = sides[SPLITS.index(split)]
            self.files, self.labels = [self.files[row] for row in chosen], self.labels[chosen]

    def __getitem__(self, index: int) -> ImageSample:
        return ImageSample(read_image(self.files[index]), int(self.labels[index]), str(self.files[index]))
