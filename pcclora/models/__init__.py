"""Pre-trained point-cloud transformers: Point-MAE, Point-BERT, ACT, ReCon, with the keys of the released files."""

from pcclora.models.act import ACTConfig
from pcclora.models.checkpoint_file import read_checkpoint
from pcclora.models.checkpoints import LoadReport, load_checkpoint
from pcclora.models.factory import create_model, list_models
from pcclora.models.point_bert import PointBERTConfig
from pcclora.models.point_mae import PointMAETinyConfig
from pcclora.models.recon import ReConConfig, ReConPlainConfig
from pcclora.models.trunk import PointMAEConfig

__all__ = [
    "ACTConfig",
    "LoadReport",
    "PointBERTConfig",
    "PointMAEConfig",
    "PointMAETinyConfig",
    "ReConConfig",
    "ReConPlainConfig",
    "create_model",
    "list_models",
    "load_checkpoint",
    "read_checkpoint",
]
