"""ACT's classifier: Point-MAE's network with class token and position pre-trained.

Dong et al., Autoencoders as Cross-Modal Teachers (ICLR 2023, arXiv 2212.08320). Its 174 keys are Point-MAE's.
"""

from dataclasses import dataclass
from typing import ClassVar

from pcclora.models.backbone import Backbone
from pcclora.models.factory import build_task
from pcclora.models.point_mae import PointMAE
from pcclora.models.trunk import PointMAEConfig
from pcclora.registry import MODELS


@dataclass
class ACTConfig(PointMAEConfig):
    """ACT."""


class ACT(PointMAE):
    """Classifier; a file must have the class token and its position."""

    families: ClassVar[tuple[str, ...]] = ("ACT",)
    fresh_tokens: ClassVar[tuple[str, ...]] = ()


@MODELS.register("act", config=ACTConfig)
def act(config: ACTConfig, *, task: str, num_classes: int) -> Backbone:
    """ACT (arXiv 2212.08320): 22.1 M parameters, 174 keys."""
    tasks = {"cls": lambda: ACT(config, num_classes=num_classes)}
    return build_task(tasks, config, task=task, num_classes=num_classes)
