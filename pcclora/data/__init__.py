"""Data sets of point clouds and images, how they are augmented and batched: one file, one registered name."""

from pcclora.data.base import (
    Axis,
    DataConfig,
    ImageDataset,
    ImageSample,
    LabelledDataset,
    Parts,
    PointCloudDataset,
    Sample,
    Subset,
    normalize_unit_sphere,
    stratified_split,
)
from pcclora.data.batches import PADDING, Batch, PartBatch, WholeBatch
from pcclora.data.episodes.draw import Episode, EpisodeSplit, episodes_digest, make_episode, most_queries
from pcclora.data.episodes.files import find_folds, read_episode, spellings
from pcclora.data.episodes.writer import write_episodes
from pcclora.data.image_loader import ImageBatch, make_image_loader
from pcclora.data.image_transforms import IMAGE_PRESETS, ImagePreset
from pcclora.data.loader import EpochSampler, Loader, make_loader, set_epoch
from pcclora.data.readers import read_points, read_scan
from pcclora.data.readers.images import read_image
from pcclora.data.readers.scan import Scan
from pcclora.data.readers.up_axis import AXES, turn_upright
from pcclora.data.sets.digits import DigitsConfig, DigitsDataset
from pcclora.data.sets.fgvc import FgvcConfig, fgvc
from pcclora.data.sets.folder import FolderConfig, FolderDataset, as_cloud, read_cloud
from pcclora.data.sets.image_folder import ImageFolderConfig, ImageFolderDataset
from pcclora.data.sets.image_lists import SuiteTask
from pcclora.data.sets.modelnet import ModelNetConfig, modelnet
from pcclora.data.sets.part_folder import PartFolderConfig, part_folder
from pcclora.data.sets.partseg_h5 import PartSegH5Config, partseg_h5
from pcclora.data.sets.procedural.clouds import ProceduralConfig, ProceduralDataset
from pcclora.data.sets.procedural.images import ProceduralImagesConfig, ProceduralImagesDataset
from pcclora.data.sets.programs.dataset import ProgramsConfig, ProgramsDataset
from pcclora.data.sets.scanobjectnn import ScanObjectNN, ScanObjectNNConfig, scanobjectnn
from pcclora.data.sets.shapenet55 import ShapeNet55Config, shapenet55
from pcclora.data.sets.shapenetpart import ShapeNetPartConfig, shapenetpart
from pcclora.data.sets.vtab1k import Vtab1kConfig, vtab1k
from pcclora.data.transforms import PRESETS, Preset, augment

__all__ = [
    "AXES",
    "IMAGE_PRESETS",
    "PADDING",
    "PRESETS",
    "Axis",
    "Batch",
    "DataConfig",
    "DigitsConfig",
    "DigitsDataset",
    "Episode",
    "EpisodeSplit",
    "EpochSampler",
    "FgvcConfig",
    "FolderConfig",
    "FolderDataset",
    "ImageBatch",
    "ImageDataset",
    "ImageFolderConfig",
    "ImageFolderDataset",
    "ImagePreset",
    "ImageSample",
    "LabelledDataset",
    "Loader",
    "ModelNetConfig",
    "PartBatch",
    "PartFolderConfig",
    "PartSegH5Config",
    "Parts",
    "PointCloudDataset",
    "Preset",
    "ProceduralConfig",
    "ProceduralDataset",
    "ProceduralImagesConfig",
    "ProceduralImagesDataset",
    "ProgramsConfig",
    "ProgramsDataset",
    "Sample",
    "Scan",
    "ScanObjectNN",
    "ScanObjectNNConfig",
    "ShapeNet55Config",
    "ShapeNetPartConfig",
    "Subset",
    "SuiteTask",
    "Vtab1kConfig",
    "WholeBatch",
    "as_cloud",
    "augment",
    "episodes_digest",
    "fgvc",
    "find_folds",
    "make_episode",
    "make_image_loader",
    "make_loader",
    "modelnet",
    "most_queries",
    "normalize_unit_sphere",
    "part_folder",
    "partseg_h5",
    "read_cloud",
    "read_episode",
    "read_image",
    "read_points",
    "read_scan",
    "scanobjectnn",
    "set_epoch",
    "shapenet55",
    "shapenetpart",
    "spellings",
    "stratified_split",
    "turn_upright",
    "vtab1k",
    "write_episodes",
]
