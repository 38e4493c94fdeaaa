"""1x1 convolutions with released parameters (Conv1d, BatchNorm1d), computed as products on the last axis."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PointwiseConv(nn.Conv1d):
    """A 1x1 convolution of points (B, N, C) and a code that all points of a cloud share.

    The originals repeat the code for every point and concatenate; here its product is taken once a cloud.

    Args:
        inputs: C, and the width of the code where there is one.
        outputs: Width of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor, code: Tensor | None = None, norm: nn.BatchNorm1d | None = None) -> Tensor:
        """Map points (B, N, C) and a code (B, D) to (B, N, outputs): the layer on [x, code], then norm and ReLU."""
        weight, bias = affine(self) if norm is None else fold(self, norm)
        if code is None:
            out = F.linear(x, weight, bias)
        else:
            local, shared = torch.split(weight, [x.shape[-1], code.shape[-1]], dim=1)
            out = F.linear(x, local).add_(F.linear(code, shared, bias).unsqueeze(1))
        return out if norm is None else activate(out, norm)

    def published_macs(self, x: Tensor, *_: object) -> int:
        """Return the multiply-accumulates of the originals' form: the whole layer at every point."""
        return x.shape[0] * x.shape[1] * self.weight.numel()


def affine(conv: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Return weight (outputs, inputs) and bias of a 1x1 convolution."""
    return conv.weight.squeeze(-1), cast("Tensor", conv.bias)


def fold(conv: nn.Conv1d, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return the map that does what ``conv`` and then ``norm`` do in eval mode; in train mode ``conv`` itself."""
    weight, bias = affine(conv)
    if norm.training:
        return weight, bias
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return weight * scale.unsqueeze(1), (bias - mean) * scale + norm.bias


def activate(x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """Apply ReLU to x (..., C), in place; before it a norm that :func:`fold` has left, over all but the last axis."""
    if not norm.training:
        return F.relu(x, inplace=True)
    return F.relu(norm(x.flatten(0, -2)), inplace=True).view(x.shape)  # in place on a view would copy the gradient
