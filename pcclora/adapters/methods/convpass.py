"""``convpass``: beside attention and MLP, a bottleneck that convolves the patches on their grid.

Jie and Deng, Convolutional Bypasses Are Better Vision Transformer Adapters (arXiv 2207.07039). With Q QuickGELU, z
sigmoid(1.702 z), and z the normalised tokens that the sub-layer reads:

    u = x + Attn(N1(x)) + s c(N1(x)),    y = u + MLP(N2(u)) + s c'(N2(u))
    c(z) = drop(Q(conv(Q(z A + b1)))) C + b2          A (C, m), C (m, C)

conv is 3 x 3 from m to m channels, with zeros around the grid; each class token or its like is an image of its own, of
one pixel. For images alone: points lie on no grid.

From the paper: the places, m = 8, dropout 0.1, the start (A Xavier-uniform, conv the identity or ``init="xavier"``, C
and biases zero, so that it is the base's), and s, which it chooses task by task from 0.01, 0.1, 1, 10 and 100; the
default 1 is ours. Ours: the grid is read off the patch embedding in each forward, so it may have any size and need not
be square (the released code is made for 14 x 14); and stochastic depth of the model drops a sub-layer and its bypass
together, while in the released code each has its own draw.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.branches import Bottlenecks, quick_gelu, xavier
from pcclora.adapters.places import Place, find_places, prefix_tokens, token_width
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS

ROLES = ("attention", "mlp")


@dataclass
class ConvpassConfig(AdapterConfig):
    """Settings of Convpass.

    Attributes:
        m: Width of the bottleneck.
        scale: Factor s of the bypasses.
        init: How the convolutions start, ``identity`` or ``xavier``; both start at the base.
        dropout: In front of the map up, in training.
    """

    shown: ClassVar[tuple[str, ...]] = ("m", "scale")
    about: ClassVar[About | None] = About(
        "sub-layer(z) + s (Q(conv(Q(z A + b))) C + c) on the grid of patches, Q QuickGELU",
        "Convpass (2207.07039)",
        "any grid; stochastic depth drops a sub-layer and its bypass together",
    )

    m: int = 8
    scale: float = 1.0
    init: Literal["identity", "xavier"] = "identity"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.m < 1 or not 0 <= self.dropout < 1 or not isfinite(self.scale):
            raise PccloraError(
                f"m is {self.m}, at least 1; dropout is {self.dropout}, in [0, 1); scale is {self.scale}, finite"
            )
        if self.init not in ("identity", "xavier"):
            raise PccloraError(f"init is '{self.init}'; it is identity or xavier")


class Bypasses(Bottlenecks):
    """One bypass for each place: a bottleneck with a convolution in it.

    Args:
        count: How many.
        C: Width of a token.
        config: Width, start, dropout.
    """

    def __init__(self, count: int, C: int, config: ConvpassConfig) -> None:
        super().__init__(count, C, config.m, act=quick_gelu, down=xavier, dropout=config.dropout)
        kernels = torch.zeros(count, config.m, config.m, 3, 3)
        if config.init == "identity":
            kernels[..., 1, 1] = torch.eye(config.m)
        else:
            for kernel in kernels:
                nn.init.xavier_uniform_(kernel)
        self.kernels, self.kernel_bias = nn.Parameter(kernels), nn.Parameter(torch.zeros(count, config.m))

    def on_grid(self, x: Tensor, place: int, grid: tuple[int, int]) -> Tensor:
        """Map tokens (B, T, C) to (B, T, C); the last H x W of them lie on the grid, row by row."""
        low = self.narrow(x, place)
        kernel, bias = self.kernels[place], self.kernel_bias[place]
        prefix = low.shape[1] - grid[0] * grid[1]
        single, patches = low[:, :prefix], low[:, prefix:]
        convolved = F.conv2d(torch.unflatten(patches.mT, 2, grid), kernel, bias, padding=1).flatten(2).mT
        singly = F.linear(single, kernel[:, :, 1, 1], bias)
        return self.widen(self.act(torch.cat([singly, convolved], dim=1)), place)


@ADAPTERS.register("convpass", config=ConvpassConfig)
class Convpass(Adapter):
    """Convpass on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model has no patch embedding by a convolution, does not say where its attentions and MLPs
            are, or m is above the width of its tokens.
    """

    config: ConvpassConfig

    def __init__(self, config: ConvpassConfig, model: nn.Module) -> None:
        places = find_places(model, ["patches", *ROLES])
        super().__init__(config, model, places=places)
        self.prefix = prefix_tokens(model)
        block = find_places(model, ["block"])[0]
        like = next(model.get_submodule(block.module).parameters())
        self.bypasses = nn.ModuleDict()
        for role in ROLES:
            count = sum(place.role == role for place in places)
            self.bypasses[role] = Bypasses(count, token_width(model, block), config).to(like)

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Look at the grid behind the patch embedding; add the bypass to what a sub-layer gives (B, T, C)."""
        if place.role == "patches":
            self.seen["grid"] = (output.shape[-2], output.shape[-1])
            return output
        x, (H, W) = inputs[0], self.seen["grid"]
        patches = x.shape[1] - self.prefix
        if patches != H * W:
            raise PccloraError(
                f"'{place.module}' is given {patches} patches, and the grid has {H} x {W}: Convpass needs all of them; "
                "create the model without patch dropout"
            )
        bypasses = cast("Bypasses", self.bypasses[place.role])
        return output + self.config.scale * bypasses.on_grid(x, place.index, (H, W))
