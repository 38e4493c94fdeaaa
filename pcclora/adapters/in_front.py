"""What methods share that put an affine map in front of linear maps: whole targets, kinds of maps, the merge.

Maps of one last name and width (``qkv_384``, ``fc1_384``) are of one kind; what a method stacks, it stacks by kind.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import Adapter
from pcclora.adapters.targets import find_targets, input_targets, refuse_slices


class InFrontAdapter(Adapter):
    """A method by which linear maps read x' = x + d(x), where d is affine in eval mode.

    Args:
        config: Its settings; ``target_modules`` None means every ``qkv`` and every first map of an MLP.
        model: What is adapted.

    Attributes:
        kinds: Kind -> its maps, in the model's order.
        own: Map -> its kind and its place in it.

    Raises:
        PccloraError: If the targets cannot be found, or are slices.
    """

    def __init__(self, config: Any, model: nn.Module) -> None:
        targets = find_targets(model, config.target_modules, default=input_targets)
        refuse_slices(targets, type(self).__name__)
        super().__init__(config, model, targets=targets)
        self.kinds: dict[str, list[str]] = {}
        for target in targets:
            self.kinds.setdefault(f"{target.module.rpartition('.')[2]}_{target.d_in}", []).append(target.module)
        self.own = {m: (kind, place) for kind, modules in self.kinds.items() for place, m in enumerate(modules)}

    def added(self, module: str, x: Tensor) -> Tensor:
        """Return d(x) of what a map reads (..., d_in)."""
        raise NotImplementedError

    def affine(self, module: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return A (d_in, m), C (m, d_in) and c (d_in,), with which d(x) = x A C + c."""
        raise NotImplementedError

    def linear(self, module: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute x' W + b."""
        return F.linear(x + self.added(module, x), weight, bias)

    def merged(self, module: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return (I + A C) W in torch's form, and b + c W; a bias appears where there was none."""
        A, C, c = self.affine(module)
        shift = weight @ c
        return weight + (weight @ C.T) @ A.T, shift if bias is None else bias + shift
