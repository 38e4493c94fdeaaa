"""Whether a model calls its linear maps: an adapter on one whose weight is read past its forward would be dead.

The source of every class around the map is searched for such a read. It may be in a branch that this model does not
take: timm's EVA reads ``qkv.weight`` only where biases are kept apart from it. So where one is found, a copy of the
module around the map is run, in the modes in which modules are used, and the copied map is watched.
"""

import copy
import inspect
import re
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.linear import AdaptedLinear


class WatchedLinear(nn.Linear):
    """An ``nn.Linear`` that counts its calls, and how often others take its weight or bias."""

    calls: int
    reads: int

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., d_in) to (..., d_out)."""
        self.calls += 1
        return F.linear(input, self._parameters["weight"], self._parameters["bias"])  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        if name in ("weight", "bias"):
            self.__dict__["reads"] += 1
        return super().__getattr__(name)


def reader_of(model: nn.Module, name: str) -> str | None:
    """Return the class that reads a linear map's weight without calling the map, or None.

    Args:
        model: Where the map is; it stays as it is, and no random number is used up.
        name: Whole name of the map.
    """
    parts = name.split(".")
    if isinstance(model.get_submodule(name), AdaptedLinear):
        return None  # it was looked at when it became one
    for i in range(len(parts)):
        owner, path = model.get_submodule(".".join(parts[:i])), ".".join(parts[i:])
        read = rf"self\.{re.escape(path)}\.(weight|bias)\b(?!\.(dtype|device|shape|size)\b)"
        if re.search(read, _forward_source(type(owner))) and not _calls(owner, path):  # type: ignore[arg-type]
            return type(owner).__name__
    return None


def _calls(owner: nn.Module, path: str) -> bool:
    """Tell whether a module that maps tokens (B, T, C) calls a linear map inside, and never only reads its weight."""
    twin = copy.deepcopy(owner)
    linear = twin.get_submodule(path)
    if type(linear) is not nn.Linear:
        return False
    tokens = torch.zeros(1, 2, linear.in_features, dtype=linear.weight.dtype, device=linear.weight.device)
    linear.__class__ = WatchedLinear
    for training, gradient in ((True, True), (False, True), (False, False)):
        linear.__dict__.update(calls=0, reads=0)
        try:
            with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(gradient):
                twin.train(training)(tokens)
        except Exception:  # it is no map of tokens: what the source says stands
            return False
        if linear.__dict__["calls"] == 0 or linear.__dict__["reads"] > 0:
            return False
    return True


@cache
def _forward_source(owner: type) -> str:
    """Return the source of a class's forward and of the methods that it calls, as far as there is source."""
    sources: dict[str, str] = {}
    wanted = ["forward"]
    while wanted:
        name = wanted.pop()
        if name not in sources:
            try:
                sources[name] = inspect.getsource(getattr(owner, name, None))  # type: ignore[arg-type]
            except (OSError, TypeError):  # no method, or none written in Python
                sources[name] = ""
            wanted += re.findall(r"self\.(\w+)\(", sources[name])
    return "".join(sources.values())
