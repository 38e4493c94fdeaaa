"""A head that reads more features than the model gives it, or fewer, for methods that make features of a cloud.

The adapter's own copy of the head's first linear map has another width; the model's stays as it is.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pcclora.adapters.places import Place
from pcclora.errors import PccloraError


@dataclass(frozen=True)
class WiderHead:
    """What an adapter that widens a head keeps of it.

    Attributes:
        map: Name of the linear map that reads the features.
        reads: How many features the model gives it.
        more: How many the adapter adds; below 0 where it gives fewer in their place.
    """

    map: str
    reads: int
    more: int

    @property
    def weight(self) -> str:
        """Name of the parameter that is wider."""
        return f"{self.map}.weight"

    def own_copy(self, name: str, original: Tensor) -> Tensor:
        """Return the head's first map of the other width, as torch starts one; other tensors as they are."""
        if name != self.weight:
            return original.detach().clone()
        wider = nn.Linear(self.reads + self.more, len(original), bias=False).weight
        return wider.detach().to(original)

    def join(self, features: Tensor, added: Tensor, *, at: int) -> Tensor:
        """Return features (B, reads) with the adapter's (B, more) behind the first ``at`` of them."""
        return torch.cat([features[:, :at], added, features[:, at:]], dim=1)


def widened(model: nn.Module, head: Place, *, more: int, trained: Collection[str]) -> WiderHead:
    """Return how a head reads more.

    Args:
        model: What is adapted.
        head: Its place of the role ``head``.
        more: How many features are added.
        trained: Names of the parameters of the model that train with the adapter.

    Raises:
        PccloraError: If the head has no linear map, or does not train: what it reads more would mean nothing to it.
    """
    for name, module in model.get_submodule(head.module).named_modules():
        if isinstance(module, nn.Linear):
            wider = WiderHead(f"{head.module}.{name}".rstrip("."), module.in_features, more)
            break
    else:
        raise PccloraError(f"'{head.module}' has no linear map that could read more features")
    if wider.weight not in trained:
        raise PccloraError(
            f"'{wider.map}' reads other features, so it must train; name '{head.module}' in modules_to_save"
        )
    return wider
