"""DGCNN, to train from scratch: neighbours in the space of features, found again before every layer.

Wang et al., Dynamic Graph CNN for Learning on Point Clouds (ACM TOG 2019, arXiv 1801.07829): the classifier, with the
authors' widths, 1.8 M parameters. An edge's map of [x_j - x_i, x_i] is taken as a product at each point and one at its
neighbour, so that no edge is multiplied (equal outputs, a twentieth of the products).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import Classifier
from pcclora.models.checkpoints.keys import HEAD
from pcclora.models.points.pointnet import (
    SharedLayer,
    check_clouds,
    check_dropout,
    check_widths,
    classifier,
    normalized,
)
from pcclora.models.register import register_model

SLOPE = 0.2  # of its leaky ReLUs


@dataclass
class DGCNNConfig:
    """DGCNN.

    Attributes:
        neighbours: Nearest neighbours of a point, itself among them.
        widths: Outputs of the edge convolutions.
        embedding: Width that they are brought to together before the pooling.
        head_widths: Outputs of the classifier's hidden layers.
        head_dropout: Dropout before its last layer.
    """

    neighbours: int = 20
    widths: tuple[int, ...] = (64, 64, 128, 256)
    embedding: int = 1024
    head_widths: tuple[int, ...] = (512, 256)
    head_dropout: float = 0.5

    def __post_init__(self) -> None:
        """Check the values."""
        self.widths, self.head_widths = tuple(self.widths), tuple(self.head_widths)
        check_widths(widths=self.widths, head_widths=self.head_widths, embedding=(self.embedding,))
        check_widths(neighbours=(self.neighbours,))
        check_dropout(self.head_dropout)


class EdgeConv(nn.Module):
    """For each point the largest answer over its neighbours j of a layer on [x_j - x_i, x_i].

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
        neighbours: How many, the point itself among them.
    """

    def __init__(self, inputs: int, outputs: int, *, neighbours: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * inputs, outputs, bias=False)  # the norm has one
        self.norm = nn.BatchNorm1d(outputs)
        self.neighbours = neighbours

    def forward(self, x: Tensor) -> Tensor:
        """Map points (B, N, inputs) to (B, N, outputs)."""
        of_difference, of_point = self.linear.weight.chunk(2, dim=1)
        at_neighbour, at_point = F.linear(x, of_difference), F.linear(x, of_point - of_difference)
        near = [rows.index_select(0, at) for rows, at in zip(at_neighbour, self._nearest(x), strict=True)]
        edges = torch.stack(near).view(*x.shape[:2], self.neighbours, -1) + at_point.unsqueeze(2)
        largest = normalized(self.norm, edges).amax(dim=2)  # of (B, N, K, outputs); the activation keeps the order
        return F.leaky_relu(largest, SLOPE)

    @torch.no_grad()
    def _nearest(self, x: Tensor) -> list[Tensor]:
        """Return the places (N K) of each cloud's neighbours; cloud by cloud, so that none depends on the others."""
        return [torch.cdist(cloud, cloud).topk(self.neighbours, largest=False).indices.flatten() for cloud in x]


class DGCNN(Classifier):
    """Classifier of clouds (B, N, 3).

    Args:
        config: Its widths.
        num_classes: Number of classes.
    """

    families: ClassVar[tuple[str, ...]] = ("DGCNN",)
    modules_to_save = (HEAD,)
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"head": (HEAD,)}

    def __init__(self, config: DGCNNConfig, *, num_classes: int) -> None:
        super().__init__()
        self.config, self.num_classes = config, num_classes
        self.edges = nn.ModuleList(
            EdgeConv(*ends, neighbours=config.neighbours) for ends in pairwise((3, *config.widths))
        )
        self.embed = SharedLayer(sum(config.widths), config.embedding, nn.LeakyReLU(SLOPE))
        self.cls_head_finetune = classifier(
            2 * config.embedding,
            config.head_widths,
            num_classes,
            dropout=config.head_dropout,
            activation=nn.LeakyReLU(SLOPE),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Map clouds (B, N, 3) to logits (B, num_classes)."""
        return self.classify(self.features(points))

    def features(self, points: Tensor) -> Tensor:
        """Map clouds (B, N, 3) to what the head reads (B, F): max and mean over the points.

        Raises:
            PccloraError: If the shape is another, or a cloud has fewer points than neighbours.
        """
        check_clouds(points)
        if points.shape[1] < self.config.neighbours:
            raise PccloraError(f"clouds of {points.shape[1]} points: {self.config.neighbours} neighbours are needed")
        x, levels = points, []
        for edge in self.edges:
            x = edge(x)
            levels.append(x)
        embedded = self.embed(torch.cat(levels, dim=-1))
        return torch.cat([embedded.amax(dim=1), embedded.mean(dim=1)], dim=-1)


# arXiv 1801.07829: 1.8 M parameters on 40 classes
register_model("dgcnn", config=DGCNNConfig, heads={"cls": DGCNN})
