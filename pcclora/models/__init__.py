"""Pre-trained transformers: Point-MAE, Point-BERT, ACT, ReCon, and timm's ViTs, with the keys of the released files.

PointNet and DGCNN stand beside them, to be trained from scratch.
"""

from pcclora.models.checkpoints.file import read_checkpoint
from pcclora.models.checkpoints.report import LoadReport
from pcclora.models.factory import create_model, list_models
from pcclora.models.images.backbone import ImageBackbone
from pcclora.models.images.configs import ImageInput, TimmConfig, VitMiniConfig, image_input
from pcclora.models.load import load_checkpoint
from pcclora.models.points.act import ACTConfig
from pcclora.models.points.dgcnn import DGCNNConfig
from pcclora.models.points.point_bert import PointBERTConfig
from pcclora.models.points.point_mae import PointMAETinyConfig
from pcclora.models.points.pointnet import PointNetConfig
from pcclora.models.points.recon import ReConConfig, ReConPlainConfig
from pcclora.models.points.trunk import PointMAEConfig

__all__ = [
    "ACTConfig",
    "DGCNNConfig",
    "ImageBackbone",
    "ImageInput",
    "LoadReport",
    "PointBERTConfig",
    "PointMAEConfig",
    "PointMAETinyConfig",
    "PointNetConfig",
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
