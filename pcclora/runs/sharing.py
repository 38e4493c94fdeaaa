"""Models that hold no tensor twice: what makes many runs on one backbone take the memory of one."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn


def share(model: nn.Module, others: Iterable[nn.Module]) -> None:
    """Let a model's tensors be views of those of other models that have the same name and the same values.

    Each model keeps parameters of its own, so that merging an adapter into one, or moving it, changes no other. What
    must not be done is to write into a tensor in place, as training does.

    Args:
        model: Whose memory is given up.
        others: Models on any device; a tensor on another device is another tensor.
    """
    for other in others:
        theirs = dict(_tensors(other))
        for name, tensor in _tensors(model):
            if (twin := theirs.get(name)) is not None and _same(tensor, twin):
                tensor.data = twin.data


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _same(tensor: Tensor, twin: Tensor) -> bool:
    if (tensor.device, tensor.dtype, tensor.shape) != (twin.device, twin.dtype, twin.shape):
        return False
    return tensor.data_ptr() != twin.data_ptr() and torch.equal(tensor, twin)
