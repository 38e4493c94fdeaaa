"""A training checkpoint holds everything, exactly."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pcclora.engine import checkpoint as checkpoints
from pcclora.engine import random_state
from pcclora.engine.checkpoint import Checkpoint
from pcclora.errors import PccloraError

CPU = torch.device("cpu")


def trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(8, 3)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def state(model, optimizer):
    return Checkpoint(
        epoch=3,
        weights=model.state_dict(),
        optimizer=checkpoints.optimizer_tensors(optimizer, model),
        rng=[random_state.capture(CPU)],
        best_epoch=2,
        best_value=0.1 + 0.2,
        best=model.state_dict(),
    )


def test_round_trip_is_exact(tmp_path):
    model, optimizer = trained()
    saved = state(model, optimizer)
    checkpoints.save(tmp_path / "c", saved)
    found = checkpoints.load(tmp_path / "c")
    assert (found.epoch, found.best_epoch, found.best_value) == (3, 2, 0.1 + 0.2)
    for part in ("weights", "optimizer", "best"):
        held, back = getattr(saved, part), getattr(found, part)
        assert held.keys() == back.keys() and all(torch.equal(held[k], back[k]) for k in held)
    other, fresh = trained()[0], torch.optim.AdamW(model.parameters())
    checkpoints.load_optimizer_tensors(fresh, model, found.optimizer)
    for parameter in model.parameters():
        for slot, value in optimizer.state[parameter].items():
            assert torch.equal(fresh.state[parameter][slot], value)
    other.load_state_dict(found.weights)


def test_random_generators_go_on_where_they_were():
    random_state.seed_everything(5, 1)
    np.random.randn()  # leaves a second Gaussian waiting in the state
    random.gauss(0, 1)
    held = random_state.capture(CPU)

    def draw():
        return [torch.rand(3).tolist(), np.random.randn(3).tolist(), random.random(), random.gauss(0, 1)]

    first = draw()
    random_state.seed_everything(6)
    assert draw() != first
    random_state.restore(held, CPU)
    assert draw() == first


def test_processes_draw_differently():
    draws = []
    for process in range(3):
        random_state.seed_everything(0, process)
        draws.append(torch.rand(1).item())
    assert len(set(draws)) == 3


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "last.safetensors"
    with pytest.raises(PccloraError, match="last.safetensors"):
        checkpoints.load(path)
    checkpoints.save(path, state(*trained()))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PccloraError, match="damaged"):
        checkpoints.load(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "last.safetensors"
    checkpoints.save(path, state(*trained()))
    return path.read_bytes()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_file_cut_anywhere_is_refused(whole, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "last.safetensors"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(PccloraError, match="last.safetensors"):
        checkpoints.load(path)


def test_another_model_is_refused():
    model, optimizer = trained()
    tensors = checkpoints.optimizer_tensors(optimizer, model)
    other = nn.Sequential(nn.Linear(3, 5))
    with pytest.raises(PccloraError, match="does not fit"):
        checkpoints.load_optimizer_tensors(torch.optim.AdamW(other.parameters()), other, tensors)
