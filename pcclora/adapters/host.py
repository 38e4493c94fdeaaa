"""All adapters of one model: which is active, whose tensors are in the model's places, what the originals are.

It is the model's last child, ``model.adapters``, so base keys keep their names and ``model.train()`` reaches it last.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.hooks import RemovableHandle

from pcclora.adapters.base import Adapter
from pcclora.adapters.files.released import Released, read_released
from pcclora.adapters.linear import AdaptedLinear, adapt, restore
from pcclora.adapters.places import After, Before
from pcclora.errors import PccloraError


class AdapterHost(nn.ModuleDict):
    """Adapters by name, at most one of them active.

    For each adapter ``aside[name]`` holds tensors of the model that are not in their places now: its own copies while
    it is inactive, the originals while it is active. Exchanging the two is what activation does. ``merged`` holds the
    original weights and biases while the active adapter is merged, ``loading`` what a base state brings while it loads.

    Args:
        model: What is adapted.
    """

    model: nn.Module

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.__dict__["model"] = model  # past __setattr__: the model is the parent, not a child
        self.active: str | None = None
        self.merged: dict[str, Tensor | None] | None = None
        self.aside: dict[str, dict[str, Tensor]] = {}
        self.linears: dict[str, AdaptedLinear] = {}
        self.hooks: list[RemovableHandle] = []
        self.loading: frozenset[str] | None = None
        self.too_narrow: dict[str, Tensor] = {}
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
            aside[key] = nn.Parameter(adapter.own_copy(key, parameters[key]))
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
        self._hook()
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
        for guard in (*self.hooks, *self.guards):
            guard.remove()
        del self.model._modules["adapters"]
        born = {key for key, original in (self.merged or {}).items() if original is None}  # a bias that merging made
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in born or self.required_grad.get(name, parameter.requires_grad))
        self.model.train(self.model.training)

    def merge(self) -> None:
        """Put the active adapter into the weights; the originals are kept."""
        adapter = self._adapter(self._required_active())
        if self.merged is not None:
            raise PccloraError(f"adapter '{self.active}' is merged already")
        if not adapter.mergeable or (not adapter.merges_into and any(True for _ in adapter.parameters())):
            method = type(adapter).__name__
            raise PccloraError(f"adapter '{self.active}': no weight of the model can take up what {method} does")
        with torch.no_grad():
            found = {name: self._merged(adapter, name) for name in adapter.merges_into}
        self.merged = {}
        for name, tensors in found.items():
            module = self.model.get_submodule(name)
            for leaf, tensor in tensors.items():
                self.merged[f"{name}.{leaf}"] = _put(module, leaf, tensor)
        self._hook()
        self._freeze()
        self.model.eval()

    def unmerge(self) -> None:
        """Put the original weights back, bit for bit."""
        if self.merged is None:
            raise PccloraError("no adapter is merged")
        for key, original in self.merged.items():
            name, _, leaf = key.rpartition(".")
            _put(self.model.get_submodule(name), leaf, original)
        self.merged = None
        self._hook()
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

    def read_released(self, weights: Mapping[str, Tensor], where: str) -> Released:
        """Find what a checkpoint of a method's original code has for the active adapter.

        Args:
            weights: The file's state dict.
            where: The file, for messages.

        Raises:
            PccloraError: If the file is of another method, or does not fit.
        """
        adapter = None if self.active is None else self._adapter(self.active)
        return read_released(adapter, weights, where)

    def original(self, key: str) -> Tensor:
        """Return a parameter or buffer of the model as it is without any adapter."""
        if self.merged is not None and (kept := self.merged.get(key)) is not None:
            return kept
        aside: dict[str, Tensor] = self.aside[self.active] if self.active is not None else {}
        return aside[key] if key in aside else self._in_place(key)

    def copy_of(self, name: str, key: str) -> Tensor:
        """Return an adapter's own copy of a parameter or buffer of the model."""
        return self._in_place(key) if self.active == name else self.aside[name][key]

    def _merged(self, adapter: Adapter, name: str) -> dict[str, Tensor | None]:
        """Return weight and, where there is one now or was one, the bias that take the place of a module's own."""
        module = self.model.get_submodule(name)
        bias = cast("Tensor | None", getattr(module, "bias", None))
        weight, merged_bias = adapter.merged(name, cast("Tensor", module.weight), bias)
        return {"weight": weight} if merged_bias is bias else {"weight": weight, "bias": merged_bias}

    def _hook(self) -> None:
        """Let the active adapter be asked at its places, and no other: a place costs nothing while none acts there."""
        for handle in self.hooks:
            handle.remove()
        self.hooks = []
        if self.active is None or self.merged is not None:
            return
        adapter = self._adapter(self.active)
        for module in adapter.places_at:
            place = self.model.get_submodule(module)
            self.hooks.append(place.register_forward_pre_hook(Before(adapter, module)))
            self.hooks.append(place.register_forward_hook(After(adapter, module)))

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
                aside[key] = _moved(tensor, fn)
        if self.merged is not None:
            self.merged = {key: None if kept is None else _moved(kept, fn) for key, kept in self.merged.items()}
        return self


def _put(module: nn.Module, leaf: str, tensor: Tensor | None) -> Tensor | None:
    """Put a tensor into a module's parameter, and return what was there; a parameter may appear, or go."""
    parameter = cast("nn.Parameter | None", getattr(module, leaf))
    before = None if parameter is None else parameter.data
    if parameter is not None and tensor is not None:
        parameter.data = tensor.detach()  # the parameter itself stays: an optimiser may hold it
    else:
        setattr(module, leaf, None if tensor is None else nn.Parameter(tensor.detach(), requires_grad=False))
    return before


def _moved(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a tensor on another device or of another type; a parameter stays itself where torch allows it."""
    with torch.no_grad():
        moved = fn(tensor)
    if not isinstance(tensor, nn.Parameter):
        return moved
    if torch._has_compatible_shallow_copy_type(tensor, moved):
        tensor.data = moved
        return tensor
    return nn.Parameter(moved, requires_grad=tensor.requires_grad)


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
    if host.loading is None or host.active is None:
        return
    # an adapter's own copy may be wider than the model's tensor: what the state brings is for the original then
    for key, original in host.aside[host.active].items():
        given = state.get(prefix + key)
        if given is not None and given.shape == original.shape != host._in_place(key).shape:
            host.too_narrow[key] = state.pop(prefix + key)


def _after_load(model: nn.Module, incompatible: Any) -> None:
    """Take what a base state put in the active adapter's places as the originals too."""
    host = cast("AdapterHost", model.adapters)
    if host.loading is not None and host.active is not None:
        aside = host.aside[host.active]
        with torch.no_grad():
            for key in host.loading.intersection(aside):
                brought = host.too_narrow[key] if key in host.too_narrow else host._in_place(key)
                if brought.shape == aside[key].shape:  # what the adapter reads more of is its own alone
                    aside[key].copy_(brought)
        ends = tuple(host.too_narrow)
        incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if not (ends and key.endswith(ends))]
    host.loading, host.too_narrow = None, {}
