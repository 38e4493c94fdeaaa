"""PointNet, to train from scratch: what a cloud gives without pre-training, at the smallest cost.

Qi et al., PointNet: Deep Learning on Point Sets (CVPR 2017, arXiv 1612.00593): one MLP that all points share, a max
over the points, a classifier. It is the form that the paper calls *vanilla*, without its two networks that turn the
input and the features: 0.8 M parameters.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import Classifier
from pcclora.models.checkpoints.keys import HEAD
from pcclora.models.register import register_model


@dataclass
class PointNetConfig:
    """PointNet.

    Attributes:
        widths: Outputs of the shared layers; the last is what the max is taken of.
        head_widths: Outputs of the classifier's hidden layers.
        head_dropout: Dropout before its last layer.
    """

    widths: tuple[int, ...] = (64, 64, 64, 128, 1024)
    head_widths: tuple[int, ...] = (512, 256)
    head_dropout: float = 0.3

    def __post_init__(self) -> None:
        """Check the values."""
        self.widths, self.head_widths = tuple(self.widths), tuple(self.head_widths)
        check_widths(widths=self.widths, head_widths=self.head_widths)
        check_dropout(self.head_dropout)


class PointNet(Classifier):
    """Classifier of clouds (B, N, 3), whatever the order and the number of their points.

    Args:
        config: Its widths.
        num_classes: Number of classes.
    """

    families: ClassVar[tuple[str, ...]] = ("PointNet",)
    modules_to_save = (HEAD,)
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"head": (HEAD,)}

    def __init__(self, config: PointNetConfig, *, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.shared = nn.ModuleList(SharedLayer(*ends) for ends in pairwise((3, *config.widths)))
        self.cls_head_finetune = classifier(
            config.widths[-1], config.head_widths, num_classes, dropout=config.head_dropout, activation=nn.ReLU()
        )

    def forward(self, points: Tensor) -> Tensor:
        """Map clouds (B, N, 3) to logits (B, num_classes)."""
        return self.classify(self.features(points))

    def features(self, points: Tensor) -> Tensor:
        """Map clouds (B, N, 3) to what the head reads (B, F): the largest value of each channel."""
        check_clouds(points)
        x = points
        for layer in self.shared:
            x = layer(x)
        return x.amax(dim=1)


class SharedLayer(nn.Module):
    """A linear map that all points share, BatchNorm and an activation.

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
        activation: What follows the norm.
    """

    def __init__(self, inputs: int, outputs: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)  # the norm has one
        self.norm = nn.BatchNorm1d(outputs)
        self.activation = activation or nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., inputs) to (..., outputs)."""
        activated: Tensor = self.activation(normalized(self.norm, self.linear(x)))
        return activated


def normalized(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Apply BatchNorm over all but the last axis of x (..., C)."""
    flat: Tensor = norm(x.flatten(0, -2))
    return flat.view(x.shape)


def classifier(
    features: int, widths: tuple[int, ...], num_classes: int, *, dropout: float, activation: nn.Module
) -> nn.Sequential:
    """Return hidden layers with BatchNorm, a dropout, and the layer of the logits."""
    hidden = [SharedLayer(*ends, activation) for ends in pairwise((features, *widths))]
    return nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear((features, *widths)[-1], num_classes))


def check_clouds(points: Tensor) -> None:
    """Refuse what is no batch of clouds.

    Raises:
        PccloraError: Naming the shape.
    """
    if points.ndim != 3 or points.shape[-1] != 3:
        raise PccloraError(f"points of shape {tuple(points.shape)}: (B, N, 3) is expected; drop further channels first")


def check_widths(**fields: tuple[int, ...]) -> None:
    """Refuse widths below 1.

    Raises:
        PccloraError: Naming the field.
    """
    for name, widths in fields.items():
        if not widths or min(widths) < 1:
            raise PccloraError(f"{name} is {widths}; one or more positive widths are expected")


def check_dropout(rate: float) -> None:
    """Refuse a rate of dropout that is none.

    Raises:
        PccloraError: Naming it.
    """
    if not 0 <= rate < 1:
        raise PccloraError(f"head_dropout is {rate}, it lies in [0, 1)")


# arXiv 1612.00593: "PointNet (vanilla)", 0.8 M parameters
register_model("pointnet", config=PointNetConfig, heads={"cls": PointNet})
