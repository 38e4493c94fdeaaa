"""What a model costs: parameters, and multiply-accumulates in both conventions.

The "GFLOPs" of the point-cloud literature are billions of multiply-accumulates (MACs) *without* the two products inside
attention, of the published form of a network: Point-MAE's 4.8 is 4.76 at 128 groups, 4.91 with them. ``literature`` is
that figure. ``total`` is what is carried out here, by torch's FlopCounterMode (one MAC is two of its FLOPs): attention
included, and a part that computes the same numbers in fewer operations counts less. Both include un-merged adapters.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class ParameterCount:
    """How many numbers a model holds and trains.

    Attributes:
        total: All of them; shared ones once.
        trainable: Those that require a gradient.
        share: trainable / total; 0 for a model without parameters.
    """

    total: int
    trainable: int
    share: float


@dataclass(frozen=True)
class MacCount:
    """Multiply-accumulates of one forward pass on one cloud, in eval mode.

    Attributes:
        total: All products that are carried out, those inside attention too.
        literature: As papers count: without the products inside attention (queries x keys, weights x values), and with
            each module that has a method ``published_macs(*inputs)`` at what that says.
        parts: ``total`` by part, as the model declares them in ``parts``; what it does not name is its ``trunk``.
    """

    total: int
    literature: int
    parts: dict[str, int]


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count a model's parameters.

    Args:
        model: Any model.

    Examples:
        >>> import torch, pcclora
        >>> pcclora.count_parameters(torch.nn.Linear(3, 2))
        ParameterCount(total=8, trainable=8, share=1.0)
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return ParameterCount(total, trainable, trainable / total if total else 0.0)


def count_macs(model: nn.Module, points: Tensor, *others: Tensor) -> MacCount:
    """Count the multiply-accumulates of a forward pass; the model and torch's random state are left as they were.

    Args:
        model: Any model, with adapters attached or not.
        points: Its input (B, ...); the figures are for one of the B.
        others: Its further inputs, as the categories (B,) of a part segmenter.

    Examples:
        >>> import torch, pcclora
        >>> pcclora.count_macs(torch.nn.Linear(3, 2), torch.rand(5, 3))
        MacCount(total=6, literature=6, parts={'trunk': 6})
    """
    attention = _AttentionCounter()
    flops = FlopCounterMode(display=False)
    # the plain backend spells attention out as products, which the counter sees on every device
    with (
        _undisturbed(model, points),
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        flops,
        _published_forms(model, flops) as published,
        attention,
    ):
        model(points, *others)
    by_module = {name.split(".", 1)[-1]: sum(ops.values()) // 2 for name, ops in flops.get_flop_counts().items()}
    total = flops.get_total_flops() // 2
    B = max(1, len(points))
    declared: dict[str, tuple[str, ...]] = getattr(model, "parts", {})
    parts = {part: sum(by_module.get(name, 0) for name in names) for part, names in declared.items()}
    parts["trunk"] = total - sum(parts.values())
    literature = total - attention.macs + sum(published)
    return MacCount(total // B, literature // B, {part: macs // B for part, macs in parts.items()})


class _AttentionCounter(TorchFunctionMode):
    """Adds up the products inside ``scaled_dot_product_attention``."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            named = (kwargs or {}).get
            query, key, value = (*args, *(t for n in ("query", "key", "value") if (t := named(n)) is not None))[:3]
            self.macs += query.numel() * key.shape[-2] + query[..., 0].numel() * value.shape[-1] * key.shape[-2]
        return func(*args, **(kwargs or {}))


@contextmanager
def _published_forms(model: nn.Module, flops: FlopCounterMode) -> Iterator[list[int]]:
    """Collect what the published forms of modules that compute the same in another one take more, in MACs.

    It is their ``forward`` that is watched, which an adapter may call past the hooks of the module.
    """
    more: list[int] = []

    def run(module: Any, forward: Callable[..., Any], *inputs: Tensor, **named: Any) -> Any:
        before = flops.get_total_flops()
        output = forward(*inputs, **named)
        more.append(module.published_macs(*inputs) - (flops.get_total_flops() - before) // 2)
        return output

    watched: list[Any] = [module for module in model.modules() if hasattr(module, "published_macs")]
    for module in watched:
        module.forward = partial(run, module, module.forward)
    try:
        yield more
    finally:
        for module in watched:
            del module.forward


@contextmanager
def _undisturbed(model: nn.Module, points: Tensor) -> Iterator[None]:
    """Put a model in eval mode; put back each module's own mode, and the random state, at the end."""
    modes = {module: module.training for module in model.modules()}
    devices = [points.device] if points.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
