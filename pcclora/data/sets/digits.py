"""``digits``: 1,797 real scans of handwritten digits, 8 x 8, that scikit-learn comes with. No download.

Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcclora.data.base import DataConfig, ImageDataset, ImageSample, check_split, check_test_fraction, stratified_split
from pcclora.errors import PccloraError
from pcclora.extras import of_extra
from pcclora.registry import DATASETS

SPLITS = ("train", "test")
CLASSES = {"all": range(10), "low": range(5), "high": range(5, 10)}


@dataclass
class DigitsConfig(DataConfig):
    """Which digits, and how they are split.

    Attributes:
        classes: ``all`` ten, ``low`` (0 to 4) or ``high`` (5 to 9).
        test_fraction: Share of each class that is tested on.
        split_seed: Another seed, another split.
        tuning: Split the training side once more, to choose settings: the test scans are left alone.
    """

    classes: Literal["all", "low", "high"] = "all"
    test_fraction: float = 0.2
    split_seed: int = 0
    tuning: bool = False

    def __post_init__(self) -> None:
        if self.classes not in CLASSES:
            raise PccloraError(f"classes is '{self.classes}'; choose one of {', '.join(CLASSES)}")
        check_test_fraction(self.test_fraction)


@DATASETS.register("digits", config=DigitsConfig)
class DigitsDataset(ImageDataset):
    """The scans of one split, 0 to 16 as 0 to 255, alike in the three channels.

    Args:
        config: Which.
        split: ``"train"`` or ``"test"``: the same for everyone, by class and by seed.

    Raises:
        PccloraError: If there is no such split.
    """

    name = "digits"

    def __init__(self, config: DigitsConfig, *, split: str) -> None:
        with of_extra("train", "the data set digits"):
            from sklearn.datasets import load_digits  # slow to import

        check_split("digits", split, SPLITS)
        self.config, self.split = config, split
        scans, digits = load_digits(return_X_y=True)
        chosen = CLASSES[config.classes]
        wanted = np.flatnonzero(np.isin(digits, chosen))
        sides = stratified_split(digits[wanted], config.test_fraction, config.split_seed)
        if config.tuning:
            wanted = wanted[sides[0]]
            sides = stratified_split(digits[wanted], config.test_fraction, config.split_seed)
        self.rows = wanted[sides[SPLITS.index(split)]]
        self.class_names = tuple(str(digit) for digit in chosen)
        self.labels = digits[self.rows].astype(np.int64) - chosen.start
        grey = np.rint(scans[self.rows].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        self.pixels = np.repeat(grey[..., None], 3, axis=-1)

    def __getitem__(self, index: int) -> ImageSample:
        return ImageSample(self.pixels[index], int(self.labels[index]), f"digits:{self.rows[index]}")
