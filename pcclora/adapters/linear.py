"""A linear map that asks the active adapter. ``nn.Linear`` becomes one in place, and plain again, by its class alone.

The module object, its parameters, their names and every reference to it stay as they are: base checkpoints load, hooks
fire, detaching leaves no trace. The adapter is reached through an attribute that nn.Module does not register.
"""

from typing import TYPE_CHECKING, cast

import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from pcclora.adapters.host import AdapterHost


class AdaptedLinear(nn.Linear):
    """An ``nn.Linear`` whose output an adapter may change."""

    adapter_host: "AdapterHost"
    adapter_key: str

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., d_in) to (..., d_out) with the active adapter, if it acts here."""
        adapter = self.adapter_host.acting_on(self.adapter_key)
        if adapter is None:
            return F.linear(input, self.weight, self.bias)
        return adapter.linear(self.adapter_key, input, self.weight, self.bias)


def adapt(linear: nn.Linear, host: "AdapterHost", key: str) -> AdaptedLinear:
    """Turn a linear map into an adapted one; ``key`` is its name in the model."""
    linear.__class__ = AdaptedLinear
    linear.__dict__.update(adapter_host=host, adapter_key=key)  # past __setattr__, which would register the host
    return cast("AdaptedLinear", linear)


def restore(linear: AdaptedLinear) -> None:
    """Turn an adapted linear map into the plain one that it was."""
    del linear.__dict__["adapter_host"], linear.__dict__["adapter_key"]
    linear.__class__ = nn.Linear  # type: ignore[assignment]
