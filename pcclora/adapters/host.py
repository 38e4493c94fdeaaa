"""All adapters of one model: which is active, whose tensors are in the model's places, what the originals are.

It is the model's last child, ``model.adapters``, so base keys keep their names and ``model.train()`` reaches it last.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pcclora.adapters.base import Adapter
from pcclora.adapters.linear import AdaptedLinear, adapt, restore
from pcclora.errors import PccloraError


class AdapterHost(nn.ModuleDict):
    """Adapters by name, at most one of them active.

    For each adapter ``aside[name]`` holds tensors of the model that are not in their places now: its own copies while
    it is inactive, the originals while it is active. Exchanging the two is what activation does. ``merged`` holds the
    original weights while the active adapter is merged, ``loading`` the names that a base state brings while it loads.

    Args:
        model: What is adapted.
    """

    model: nn.Module

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.__dict__["model"] = model  # past __setattr__: the model is the parent, not a child
        self.active: str | None = None
        self.merged: dict[str, Tensor] | None = None
        self.aside: dict[str, dict[str, Tensor]] = {}
        self.linears: dict[str, AdaptedLinear] = {}
        self.loading: frozenset[str] | None = None
        self.required_grad = {name: p.requires_grad for name, p in model.named_parameters()}
        self.register_load_state_dict_post_hook(_forgive_missing_adapters)  # type: ignore[no-untyped-call]
        self.guards = [
            model.register_load_state_dict_pre_hook(_before_load),  # type: ignore[no-untyped-call]
            model.register_load_state_dict_post_hook(_after_load),  # type: ignore[no-untyped-call]
        ]

    def acting_on(self, key: str) -> Adapter | None:
        """Return the active adapter if it acts on the linear map called ``key`` and is not merged into it."""
        if self.active is None or self.merged is not None:
            return None
        adapter = self._adapter(self.active)
        return adapter if key in adapter.acts_on else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the input: an ``nn.Sequential`` calls its last child too."""
        return x

    def add(self, name: str, adapter: Adapter) -> None:
        """Take in an adapter, inactive."""
        parameters, buffers = dict(self.model.named_parameters()), dict(self.model.named_buffers())
        aside: dict[str, Tensor] = {}
        for key in adapter.trained_parameters:
            aside[key] = nn.Parameter(parameters[key].detach().clone())
        for key in adapter.trained_buffers:
            aside[key] = buffers[key].detach().clone()
        self[name], self.aside[name] = adapter, aside
        for target in adapter.targets:
            if target.module not in self.linears:
                linear = self.model.get_submodule(target.module)
                self.linears[target.module] = adapt(cast("nn.Linear", linear), self, target.module)

    def activate(self, name: str | None) -> None:
        """Put one adapter in place, or with None the originals."""
        if self.merged is not None:
            raise PccloraError(f"adapter '{self.active}' is merged; unmerge it first")
        if self.active is not None:
            self._exchange(self.active)
        self.active = name
        if name is not None:
            self._exchange(name)
        self._freeze()
        self.train(self.model.training)

    def discard(self, name: str) -> None:
        """Forget an adapter; its linear maps become plain when no other adapter acts on them."""
        if self.active == name:
            self.activate(None)
        del self[name], self.aside[name]
        needed = {key for other in self for key in self._adapter(other).acts_on}
        for key in [key for key in self.linears if key not in needed]:
            restore(self.linears.pop(key))

    def dissolve(self) -> None:
        """Leave the model as it is now, plain: nothing adapted, every parameter trained that was so before."""
        for linear in self.linears.values():
            restore(linear)
        for guard in self.guards:
            guard.remove()
        del self.model._modules["adapters"]
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self.required_grad.get(name, parameter.requires_grad))
        self.model.train(self.model.training)

    def merge(self) -> None:
        """Put the active adapter into the weights; the originals are kept."""
        adapter = self._adapter(self._required_active())
        if self.merged is not None:
            raise PccloraError(f"adapter '{self.active}' is merged already")
        if not adapter.acts_on and any(True for _ in adapter.parameters()):
            raise PccloraError(f"adapter '{self.active}' changes no linear map: it cannot be merged")
        with torch.no_grad():
            weights = {key: adapter.merged_weight(key, self.linears[key].weight) for key in adapter.acts_on}
        self.merged = {}
        for key, weight in weights.items():
            self.merged[key] = self.linears[key].weight.data
            self.linears[key].weight.data = weight.detach()
        self._freeze()
        self.model.eval()

    def unmerge(self) -> None:
        """Put the original weights back, bit for bit."""
        if self.merged is None:
            raise PccloraError("no adapter is merged")
        for key, weight in self.merged.items():
            self.linears[key].weight.data = weight
        self.merged = None
        self._freeze()

    def train(self, mode: bool = True) -> "AdapterHost":
        """Follow the model into train or eval mode; a BatchNorm whose statistics are frozen stays in eval mode."""
        if mode and self.merged is not None:
            self.model.eval()
            raise PccloraError(f"adapter '{self.active}' is merged; unmerge it before training")
        super().train(mode)
        moved = self._adapter(self.active).trained_buffers if self.active is not None else ()
        for name, module in self.model.named_modules():
            if isinstance(module, _NormBase) and not name.startswith("adapters."):
                module.training = mode and f"{name}.running_mean" in moved
        return self

    def original(self, key: str) -> Tensor:
        """Return a parameter or buffer of the model as it is without any adapter."""
        module, _, leaf = key.rpartition(".")
        if leaf == "weight" and self.merged is not None and module in self.merged:
            return self.merged[module]
        aside: dict[str, Tensor] = self.aside[self.active] if self.active is not None else {}
        return aside[key] if key in aside else self._in_place(key)

    def copy_of(self, name: str, key: str) -> Tensor:
        """Return an adapter's own copy of a parameter or buffer of the model."""
        return self._in_place(key) if self.active == name else self.aside[name][key]

    def _in_place(self, key: str) -> Tensor:
        place, leaf = self._place(key)
        return cast("Tensor", place[leaf])

    def _adapter(self, name: str) -> Adapter:
        return cast("Adapter", self[name])

    def _required_active(self) -> str:
        if self.active is None:
            raise PccloraError("no adapter is active")
        return self.active

    def _exchange(self, name: str) -> None:
        aside = self.aside[name]
        for key in aside:
            place, leaf = self._place(key)
            place[leaf], aside[key] = aside[key], place[leaf]

    def _place(self, key: str) -> tuple[dict[str, Any], str]:
        owner_name, _, leaf = key.rpartition(".")
        owner = self.model.get_submodule(owner_name)
        return (owner._parameters if leaf in owner._parameters else owner._buffers), leaf

    def _freeze(self) -> None:
        """Let exactly the active adapter's tensors ask for a gradient, and none while it is merged."""
        self.model.requires_grad_(False)
        if self.active is None or self.merged is not None:
            return
        self[self.active].requires_grad_(True)
        for key in self._adapter(self.active).trained_parameters:
            self.model.get_parameter(key).requires_grad_(True)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "AdapterHost":
        """Move what is set aside along with the model (``.to``, ``.double`` and their like)."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for aside in self.aside.values():
            for key, tensor in aside.items():
                if isinstance(tensor, nn.Parameter):
                    tensor.data = fn(tensor.data)
                else:
                    aside[key] = fn(tensor)
        if self.merged is not None:
            self.merged = {key: fn(weight) for key, weight in self.merged.items()}
        return self


def _forgive_missing_adapters(host: nn.Module, incompatible: Any) -> None:
    """Let a base state, which has no adapter tensors, load strictly."""
    own = tuple(f"adapters.{key}" for key in host.state_dict())
    if cast("AdapterHost", host).loading is not None and own:
        incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if not key.endswith(own)]


def _before_load(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    host = cast("AdapterHost", model.adapters)
    if host.merged is not None:
        raise PccloraError(f"adapter '{host.active}' is merged into the weights; unmerge it before loading others")
    brought = frozenset(key.removeprefix(prefix) for key in state if key.startswith(prefix))
    host.loading = None if any(key.startswith("adapters.") for key in brought) else brought


def _after_load(model: nn.Module, _: Any) -> None:
    """Take what a base state put in the active adapter's places as the originals too."""
    host = cast("AdapterHost", model.adapters)
    if host.loading is not None and host.active is not None:
        with torch.no_grad():
            for key in host.loading.intersection(host.aside[host.active]):
                place, leaf = host._place(key)
                host.aside[host.active][key].copy_(place[leaf])
    host.loading = None
