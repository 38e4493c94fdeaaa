"""Data sets of point clouds, how they are augmented and how they are batched: one file, one registered name."""

from pcclora.data.base import PointCloudDataset, Sample, Subset, normalize_unit_sphere, stratified_split
from pcclora.data.procedural import ProceduralConfig, ProceduralDataset

__all__ = [
    "PointCloudDataset",
    "ProceduralConfig",
    "ProceduralDataset",
    "Sample",
    "Subset",
    "normalize_unit_sphere",
    "stratified_split",
]
