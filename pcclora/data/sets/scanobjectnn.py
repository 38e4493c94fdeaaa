"""``scanobjectnn``: scanned indoor objects of 15 categories, in the h5 files that its authors give out.

Uy et al., "Revisiting Point Cloud Classification: A New Benchmark Dataset and Classification Model on Real-World Data",
ICCV 2019 (arXiv 1908.04616). Names of files, order of classes and the mask (-1 is background) are those of
github.com/hkust-vgd/scanobjectnn. Points are used as stored, as Point-BERT, Point-MAE and their descendants do.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import DataConfig, Parts, Sample, check_split, normalize_unit_sphere
from pcclora.data.readers.files import refuse_channels_first, require_files, require_folder
from pcclora.data.readers.hdf5 import read_h5
from pcclora.data.sets.arrays import ArrayDataset
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.shipped import card

CARD = f"root is the folder of main_split and main_split_nobg, see {card('scanobjectnn')}"
SPLITS = {"train": "training", "test": "test"}
CLASS_NAMES = tuple("bag bin box cabinet chair desk display door shelf table bed pillow sink sofa toilet".split())
PARTS = Parts(("background", "object"), ((0, 1),) * len(CLASS_NAMES))
VARIANTS = {
    "OBJ_BG": ("main_split", "objectdataset"),
    "OBJ_ONLY": ("main_split_nobg", "objectdataset"),
    "PB_T25": ("main_split", "objectdataset_augmented25_norot"),
    "PB_T25_R": ("main_split", "objectdataset_augmented25rot"),
    "PB_T50_R": ("main_split", "objectdataset_augmentedrot"),
    "PB_T50_RS": ("main_split", "objectdataset_augmentedrot_scale75"),
}
_UNPERTURBED = {"train": 2309, "test": 581}
_HARDEST = {"train": 11416, "test": 2882}


@dataclass
class ScanObjectNNConfig(DataConfig):
    """Which of ScanObjectNN's files to read.

    Attributes:
        root: The folder of ``main_split`` and ``main_split_nobg``.
        variant: ``OBJ_BG``: the object with what else is in its box. ``OBJ_ONLY``: without. ``PB_*``: five perturbed
            copies of each object with its background: the box shifted by up to 25 or 50 % (T25, T50), rotated (R),
            scaled (S). ``PB_T50_RS`` is the hardest, and what a paper means that names none.
        background: False leaves out the points that the mask calls background; clouds then differ in size.
        normalize: Centre each cloud and scale it into the unit sphere; the peers do not.
        incomplete: Accept another number of objects than the official one.
    """

    root: str = ""
    variant: Literal["OBJ_BG", "OBJ_ONLY", "PB_T25", "PB_T25_R", "PB_T50_R", "PB_T50_RS"] = "PB_T50_RS"
    background: bool = True
    normalize: bool = False
    incomplete: bool = False

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise PccloraError(f"variant is '{self.variant}'; ScanObjectNN has {', '.join(VARIANTS)}")


class ScanObjectNN(ArrayDataset):
    """The objects of one file; a sample's ``part_labels`` are 1 on the object, 0 on the background.

    Args:
        config: How samples are given out.
        split: ``"train"`` or ``"test"``.
        file: Where they come from, for messages.
        clouds: (M, N, 3).
        labels: (M,).
        on_object: (M, N) which points belong to the object, or None where the file does not say it.
    """

    def __init__(
        self,
        config: ScanObjectNNConfig,
        *,
        split: str,
        file: Path,
        clouds: NDArray[np.generic],
        labels: NDArray[np.int64],
        on_object: NDArray[np.bool_] | None,
    ) -> None:
        super().__init__(
            name=_protocol(config),
            split=split,
            class_names=CLASS_NAMES,
            clouds=clouds,
            labels=labels,
            places=[f"{file}[{row}]" for row in range(len(labels))],
            normalize=False,
            form="h5",
            root=Path(config.root).expanduser(),
        )
        self.config, self.on_object = config, on_object
        self.parts = None if on_object is None else PARTS

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        points = sample.points
        parts = None if self.on_object is None else self.on_object[index].astype(np.int64)
        if parts is not None and not self.config.background:
            points, parts = points[parts == 1], parts[parts == 1]
            if not len(points):
                raise PccloraError(f"{sample.path}: every point is background; set background to true")
        if self.config.normalize:
            points = normalize_unit_sphere(points)
        return replace(sample, points=points, part_labels=parts)


@DATASETS.register("scanobjectnn", config=ScanObjectNNConfig)
def scanobjectnn(config: ScanObjectNNConfig, *, split: str) -> ScanObjectNN:
    """Open one split of a variant.

    Args:
        config: Where, and which variant.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If the file is absent or damaged, or holds another number of objects than the variant has.
    """
    check_split("scanobjectnn", split, SPLITS)
    file = variant_file(require_folder(config.root, "scanobjectnn", CARD), config.variant, split)
    require_files([file], f"scanobjectnn {config.variant} {split}", CARD)
    arrays = read_h5(file, {"data": "f", "label": "fiu", "mask": "fiu"}, optional=["mask"])
    clouds, mask = arrays["data"], arrays.get("mask")
    if clouds.ndim == 3:
        refuse_channels_first(clouds.shape, f"{file}: 'data'")
    if clouds.ndim != 3 or clouds.shape[2] < 3:
        raise PccloraError(f"{file}: 'data' must be (samples, points, 3), found {clouds.shape}; {CARD}")
    if mask is not None and mask.shape != clouds.shape[:2]:
        raise PccloraError(f"{file}: 'mask' must be {clouds.shape[:2]}, found {mask.shape}; {CARD}")
    if mask is not None and not np.isfinite(mask).all():
        raise PccloraError(f"{file}: 'mask' has values that are no numbers, so the background is not known; {CARD}")
    if mask is None and not config.background and config.variant != "OBJ_ONLY":
        raise PccloraError(f"{file}: no key 'mask', so the background is not known; set background to true")
    if not config.incomplete:
        _check_count(file, config.variant, split, len(clouds))
    return ScanObjectNN(
        config,
        split=split,
        file=file,
        clouds=clouds,
        labels=_whole_labels(file, arrays["label"], len(clouds)),
        on_object=None if mask is None else np.asarray(mask != -1),
    )


def _protocol(config: ScanObjectNNConfig) -> str:
    """Name the data set with what changes its numbers, for result tables."""
    return (
        f"scanobjectnn {config.variant}"
        + ("" if config.background else ", background left out")
        + (", normalised" if config.normalize else "")
    )


def variant_file(root: Path, variant: str, split: str) -> Path:
    """Return what a split of a variant is called."""
    folder, name = VARIANTS[variant]
    return root / folder / f"{SPLITS[split]}_{name}.h5"


def expected_counts(variant: str, split: str) -> tuple[int, int]:
    """Return the least and the largest number of objects that a split of a variant may hold.

    They are equal where the number is published: for the plain variants and the hardest. The other perturbed ones have
    up to five copies of each object, and more than four.
    """
    plain, hardest = _UNPERTURBED[split], _HARDEST[split]
    if variant == "PB_T50_RS":
        return hardest, hardest
    return (4 * plain + 1, 5 * plain) if variant.startswith("PB") else (plain, plain)


def _check_count(file: Path, variant: str, split: str, count: int) -> None:
    least, largest = expected_counts(variant, split)
    if not least <= count <= largest:
        wanted = f"{least:,}" if least == largest else f"{least:,} to {largest:,}"
        fitting = [
            name for name in VARIANTS if expected_counts(name, split)[0] <= count <= expected_counts(name, split)[1]
        ]
        belongs = f" (as many as {' or '.join(fitting)})" if fitting else ""
        raise PccloraError(
            f"{file}: {count:,} objects{belongs}, {variant} has {wanted} in its {split} split; set variant to what the "
            "file holds, download it again, or set incomplete to true"
        )


def _whole_labels(file: Path, labels: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    flat = labels.reshape(-1)
    with np.errstate(invalid="ignore"):  # NaN becomes some number, and differs from it
        whole = flat.astype(np.int64)
    if len(flat) != count or (whole != flat).any():
        raise PccloraError(f"{file}: 'label' must have one whole number a sample, found {labels.dtype} {labels.shape}")
    return whole
