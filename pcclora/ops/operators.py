"""Operators of our own: one node to ``torch.compile`` and to whoever traces, whichever implementation runs."""

from collections.abc import Callable
from typing import Any

import torch


def operator(schema: str, *, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the decorated function an operator that has no gradient of its own.

    ``torch.library.custom_op`` does the same, but its first call imports torch's compiler: more than a second, in every
    process that looks at one cloud.

    Args:
        schema: Name, arguments and results, as ``pcclora::name(Tensor points, int K) -> Tensor``.
        fake: What makes results of the right shape, for tensors without data.
    """

    def define(function: Callable[..., Any]) -> Callable[..., Any]:
        name, _, signature = schema.partition("(")
        torch.library.define(name, f"({signature}")
        torch.library.impl(name, "CompositeExplicitAutograd")(function)
        torch.library.register_fake(name)(fake)
        packet: Any = torch.ops
        for word in name.split("::"):
            packet = getattr(packet, word)
        found: Callable[..., Any] = packet.default
        return found

    return define
