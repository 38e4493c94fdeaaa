"""Classification heads, with the layer indices of the released files."""

from torch import nn

HIDDEN = 256  # of every released head


def point_mae_head(features: int, num_classes: int, *, dropout: float) -> nn.Sequential:
    """Return the three-layer head of Point-MAE, ACT and ReCon: weights at 0, 1, 4, 5, 8.

    Args:
        features: Width of its input.
        num_classes: Number of classes.
        dropout: Rate of both dropouts.
    """
    return nn.Sequential(
        *(nn.Linear(features, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        *(nn.Linear(HIDDEN, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        nn.Linear(HIDDEN, num_classes),
    )


def point_bert_head(features: int, num_classes: int, *, dropout: float) -> nn.Sequential:
    """Return the two-layer head of Point-BERT: weights at 0 and 3.

    Args:
        features: Width of its input.
        num_classes: Number of classes.
        dropout: Rate of the dropout.
    """
    return nn.Sequential(
        nn.Linear(features, HIDDEN), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(HIDDEN, num_classes)
    )
