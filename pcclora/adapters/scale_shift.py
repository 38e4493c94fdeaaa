"""What methods share that scale and shift what modules give: z <- g * z + h, with g and h of z's width."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import Adapter
from pcclora.adapters.places import Place, find_places
from pcclora.adapters.targets import Target, find_targets, select


class ScaleShiftAdapter(Adapter):
    """A method with a scale and a shift for each of several modules, among them its targets.

    Args:
        config: The method's settings.
        model: What is adapted.
        targets: The linear maps that it acts on, all of them whole.
        places: The modules that it acts around.
        like: Name of a module -> a tensor whose first size is the width of what is scaled there, and of its type.
        std: Of the normals around 1 and 0 from which scales and shifts start; 0 starts at the base.
    """

    def __init__(
        self,
        config: Any,
        model: nn.Module,
        *,
        targets: Sequence[Target],
        places: Sequence[Place],
        like: Mapping[str, Tensor],
        std: float,
    ) -> None:
        super().__init__(config, model, targets=targets, places=places)
        self.scales, self.shifts = nn.ParameterDict(), nn.ParameterDict()
        for name, tensor in like.items():
            noise = torch.zeros(2, len(tensor))
            if std:
                noise.normal_(std=std)
            self.scales[_key(name)] = nn.Parameter((1 + noise[0]).to(tensor))
            self.shifts[_key(name)] = nn.Parameter(noise[1].to(tensor))

    def of(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the scale and the shift (d,) of a module."""
        return self.scales[_key(name)], self.shifts[_key(name)]

    def scaled(self, name: str, z: Tensor) -> Tensor:
        """Return g * z + h of z (..., d)."""
        scale, shift = self.of(name)
        return torch.addcmul(shift, z, scale)

    def linear(self, module: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute g * (x W + b) + h."""
        return self.scaled(module, F.linear(x, weight, bias))


def maps_in_blocks(model: nn.Module) -> tuple[Target, ...]:
    """Return every linear map inside the attentions and MLPs of a model's blocks."""
    inside = [place.module for place in find_places(model, ["attention", "mlp"])]
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(name.startswith(f"{place}.") for place in inside)
    ]
    return find_targets(model, select(names, names, what="target"))


def _key(name: str) -> str:
    return name.replace(".", "/")
