"""Blocks that compute a second time for the backward pass: the same numbers from less memory, for every method."""

import copy
import pickle

import pytest
import torch
from torch import nn

from pcclora import PccloraError, create_model
from pcclora.adapters.places import has_place
from pcclora.adapters.recompute import Recomputed, recompute_blocks
from tests.adapters.backbones import BACKBONES
from tests.adapters.cases import attached, same, several, state, train


@several
def test_training_is_the_same_to_the_last_bit(method: str, backbone: str) -> None:
    if not has_place(BACKBONES[backbone]()[0], "block"):
        return  # some layers of a user's own
    states = []
    for recomputes in (False, True):
        model, adapter, x = attached(method, backbone)
        if recomputes:
            recompute_blocks(model)
        torch.manual_seed(0)
        train(model, adapter, x, steps=3)
        states.append(state(model))
    assert same(*states)


def kept(model: nn.Module, x: torch.Tensor) -> int:
    """How many numbers the backward pass is given."""
    held = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal held
        held += tensor.numel() * (not isinstance(tensor, nn.Parameter))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(x)
    return held


def test_less_is_kept_and_a_copy_does_the_same() -> None:
    model, _, x = attached("full", "point_mae_tiny")
    before = kept(model, x)
    recompute_blocks(model)
    assert kept(model, x) < before
    model.eval()
    expected = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), expected)
        forwards = [own.forward for own in twin.blocks]
        assert all(isinstance(own, Recomputed) and own.model is twin for own in forwards)
        assert all(own.block is block for own, block in zip(forwards, twin.blocks, strict=True))


def test_a_model_without_an_adapter_recomputes_too() -> None:
    model, x = BACKBONES["point_mae_tiny"]()
    before = kept(model, x)
    recompute_blocks(model)
    assert kept(model, x) < before


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(PccloraError, match="train.checkpointing=true: DGCNN has no blocks that could be recomputed"):
        recompute_blocks(create_model("dgcnn", num_classes=3))
