"""Data sets of point clouds, how they are augmented and how they are batched: one file, one registered name."""

from pcclora.data.base import PointCloudDataset, Sample, Subset, normalize_unit_sphere, stratified_split
from pcclora.data.loader import Batch, EpochSampler, make_loader, set_epoch
from pcclora.data.procedural import ProceduralConfig, ProceduralDataset
from pcclora.data.transforms import PRESETS, Preset, augment

__all__ = [
    "PRESETS",
    "Batch",
    "EpochSampler",
    "PointCloudDataset",
    "Preset",
    "ProceduralConfig",
    "ProceduralDataset",
    "Sample",
    "Subset",
    "augment",
    "make_loader",
    "normalize_unit_sphere",
    "set_epoch",
    "stratified_split",
]
