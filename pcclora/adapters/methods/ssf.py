"""``ssf``: scale and shift what every linear map and every norm of the trunk gives.

Lian et al., Scaling and Shifting Your Features (arXiv 2210.08823): z <- g * z + h, with g and h of z's width, behind
qkv, proj, fc1, fc2 and both norms of every block, behind the last norm and, of images, behind the patch embedding. It
merges fully: behind a map W' = diag(g) W, b' = g * b + h (a bias appears where there was none), behind a norm w' = g *
w, b' = g * b + h.

From the paper: the places, and the start from normals of std 0.02 around 1 and 0 (``init="paper"``). Ours: to start
exactly at the base (``init="identity"``, the default), and the tokeniser of points stays as it is, as in the tables of
methods for points.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.places import Place, find_places, has_place
from pcclora.adapters.scale_shift import ScaleShiftAdapter, maps_in_blocks
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class SSFConfig(AdapterConfig):
    """Settings of SSF.

    Attributes:
        init: ``identity`` starts at the base; ``paper`` draws scales and shifts from normals of std 0.02.
    """

    shown: ClassVar[tuple[str, ...]] = ("init",)
    about: ClassVar[About | None] = About(
        "g * z + h behind every map and norm", "SSF (2210.08823)", "starts at the base unless told otherwise"
    )

    init: Literal["identity", "paper"] = "identity"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.init not in ("identity", "paper"):
            raise PccloraError(f"init is '{self.init}'; it is identity or paper")


@ADAPTERS.register("ssf", config=SSFConfig)
class SSF(ScaleShiftAdapter):
    """SSF on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model does not say where its blocks are.
    """

    def __init__(self, config: SSFConfig, model: nn.Module) -> None:
        targets = maps_in_blocks(model)
        roles = ["attention_norm", "mlp_norm", *(role for role in ("norm", "patches") if has_place(model, role))]
        places = find_places(model, roles)
        modules = [*(target.module for target in targets), *(place.module for place in places)]
        like = {name: cast("Tensor", model.get_submodule(name).weight) for name in modules}
        std = 0.02 if config.init == "paper" else 0.0
        super().__init__(config, model, targets=targets, places=places, like=like, std=std)
        self.mergeable, self.starts_at_base = True, config.init == "identity"

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Return g * z + h of what a norm gives (..., C), or a patch embedding (B, C, H, W)."""
        scale, shift = self.of(place.module)
        if place.role == "patches":
            scale, shift = scale[:, None, None], shift[:, None, None]
        return torch.addcmul(shift, output, scale)

    @property
    def merges_into(self) -> frozenset[str]:
        """The maps and the norms."""
        return self.acts_on | frozenset(self.places_at)

    def merged(self, module: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return diag(g) W and g * b + h; a bias appears where there was none."""
        scale, shift = self.of(module)
        scaled = weight * scale.view(-1, *[1] * (weight.ndim - 1))
        return scaled, shift.clone() if bias is None else torch.addcmul(shift, bias, scale)
