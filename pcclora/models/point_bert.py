"""Point-BERT's classifier: Point-MAE's trunk with a 256-wide mini-PointNet, ``reduce_dim``, and a two-layer head.

Yu et al., Point-BERT: Pre-training 3D Point Cloud Transformers with Masked Point Modeling (CVPR 2022, arXiv
2111.14819). In eval mode the logits equal the original's to 1e-4 relative in float32.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pcclora.models.backbone import Backbone
from pcclora.models.factory import build_task
from pcclora.models.heads import point_bert_head
from pcclora.models.point_mae import PointMAE
from pcclora.models.trunk import PointMAEConfig
from pcclora.registry import MODELS


@dataclass
class PointBERTConfig(PointMAEConfig):
    """Point-BERT; the released ScanObjectNN files have 40 outputs for its 15 classes: load them with num_classes=40."""

    encoder_dim: int | None = 256


class PointBERT(PointMAE):
    """Classifier; class token and position are pre-trained, so a file must have them."""

    families: ClassVar[tuple[str, ...]] = ("Point-BERT",)
    fresh_tokens: ClassVar[tuple[str, ...]] = ()

    def make_head(self, config: PointMAEConfig, num_classes: int) -> nn.Sequential:
        """Return the classification head."""
        return point_bert_head(2 * config.dim, num_classes, dropout=config.head_dropout)


@MODELS.register("point_bert", config=PointBERTConfig)
def point_bert(
    config: PointBERTConfig, *, task: str, num_classes: int = 0, num_parts: int = 0, num_categories: int = 0
) -> Backbone:
    """Point-BERT (arXiv 2111.14819): 22.1 M parameters, 164 keys; parts 27.1 M, 223."""
    tasks = {"cls": PointBERT}
    counts = {"num_classes": num_classes, "num_parts": num_parts, "num_categories": num_categories}
    return build_task(tasks, config, task=task, **counts)
