"""ACT's classifier: Point-MAE's network with class token and position pre-trained.

Dong et al., Autoencoders as Cross-Modal Teachers (ICLR 2023, arXiv 2212.08320). Its 174 keys are Point-MAE's.
"""

from dataclasses import dataclass
from typing import ClassVar

from pcclora.models.points.part_segmentation import PointMAEPartSegmenter
from pcclora.models.points.point_mae import PointMAE
from pcclora.models.points.trunk import PointMAEConfig
from pcclora.models.register import register_model


@dataclass
class ACTConfig(PointMAEConfig):
    """ACT."""


class ACT(PointMAE):
    """Classifier; a file must have the class token and its position."""

    families: ClassVar[tuple[str, ...]] = ("ACT",)
    fresh_tokens: ClassVar[tuple[str, ...]] = ()


class ACTPartSegmenter(PointMAEPartSegmenter):
    """Point-MAE's part segmentation network; ACT's own files name the head ``label_conv_cls`` and so on."""

    families: ClassVar[tuple[str, ...]] = ("ACT",)


# arXiv 2212.08320: 22.1 M parameters, 174 keys; parts 27.1 M, 192
register_model("act", config=ACTConfig, heads={"cls": ACT, "partseg": ACTPartSegmenter})
