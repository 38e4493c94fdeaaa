"""Pre-trained transformers: Point-MAE, Point-BERT, ACT, ReCon, and timm's ViTs, with the keys of the released files."""

from pcclora.models.act import ACTConfig
from pcclora.models.checkpoint_file import read_checkpoint
from pcclora.models.checkpoints import load_checkpoint
from pcclora.models.factory import create_model, list_models
from pcclora.models.image import ImageInput, TimmConfig, VitMiniConfig, image_input
from pcclora.models.image_backbone import ImageBackbone
from pcclora.models.load_report import LoadReport
from pcclora.models.point_bert import PointBERTConfig
from pcclora.models.point_mae import PointMAETinyConfig
from pcclora.models.recon import ReConConfig, ReConPlainConfig
from pcclora.models.trunk import PointMAEConfig

__all__ = [
    "ACTConfig",
    "ImageBackbone",
    "ImageInput",
    "LoadReport",
    "PointBERTConfig",
    "PointMAEConfig",
    "PointMAETinyConfig",
    "ReConConfig",
    "ReConPlainConfig",
    "TimmConfig",
    "VitMiniConfig",
    "create_model",
    "image_input",
    "list_models",
    "load_checkpoint",
    "read_checkpoint",
]
