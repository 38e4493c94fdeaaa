"""A training checkpoint holds everything, exactly."""

import json
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from pcclora.engine import checkpoint as checkpoints
from pcclora.engine import random_state
from pcclora.engine.checkpoint import Checkpoint
from pcclora.errors import PccloraError
from pcclora.tensor_file import read_tensors, write_tensors

CPU = torch.device("cpu")


def load(path):
    found = checkpoints.load(path)
    checkpoints.check_run(found, path, epochs=5, processes=1)
    return found


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
    found = load(tmp_path / "c")
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
        load(path)
    checkpoints.save(path, state(*trained()))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PccloraError, match="damaged"):
        load(path)


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
        load(path)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_is_refused(whole, tmp_path_factory, data):
    path, flipped = tmp_path_factory.mktemp("flip") / "last.safetensors", bytearray(whole)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    with pytest.raises(PccloraError, match="last.safetensors"):
        load(path)


COUNTERS = {"epoch": 3, "processes": 1, "best_epoch": 2, "best_value": 0.3}


@pytest.mark.parametrize(
    ("counters", "message"),
    [
        ({}, "there is no epoch"),
        ([], "its content is a list, an object is needed"),
        ("{", "cannot be read"),
        ("[" * 10**5, "nested too deeply"),
        (COUNTERS | {"epoch": "x"}, "epoch is 'x', a whole number is needed"),
        (COUNTERS | {"epoch": 1.5}, "epoch is 1.5, a whole number"),
        (COUNTERS | {"epoch": True}, "epoch is True, a whole number"),
        (COUNTERS | {"epoch": -5}, "missing or damaged: epochs"),
        (COUNTERS | {"epoch": 6}, "says that 6 epochs are done, the run has 5"),
        (COUNTERS | {"epoch": 10**9}, "says that 1000000000 epochs are done"),
        (COUNTERS | {"processes": 0}, "its random generators are not those of 0 processes"),
        (COUNTERS | {"processes": 10**9}, "its random generators are not those of 1000000000 processes"),
        (COUNTERS | {"processes": "2"}, "processes is '2', a whole number"),
        (COUNTERS | {"best_epoch": 4}, "missing or damaged: best epoch"),
        (COUNTERS | {"best_epoch": None}, "missing or damaged: best epoch"),
        (COUNTERS | {"best_value": None}, "missing or damaged: best epoch"),
        ('{"epoch": 3, "processes": 1, "best_epoch": 2, "best_value": NaN}', "NaN is no number of JSON"),
    ],
)
def test_counters_that_are_none_are_refused(whole, tmp_path, counters, message):
    path = tmp_path / "last.safetensors"
    path.write_bytes(whole)
    tensors, _ = read_tensors(path, remedy="")
    text = counters if isinstance(counters, str) else json.dumps(counters)
    write_tensors(path, tensors, {"pcclora_checkpoint": text})
    with pytest.raises(PccloraError, match=rf"last\.safetensors: .*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("optimizer.", "missing or damaged: optimiser state"),
        ("weights.", "missing or damaged: weights"),
        ("rng.0.", "its random generators are not those of 1 processes"),
        ("best.", "missing or damaged: best epoch"),
    ],
)
def test_a_part_that_is_missing_is_refused(whole, tmp_path, part, message):
    path = tmp_path / "last.safetensors"
    path.write_bytes(whole)
    tensors, header = read_tensors(path, remedy="")
    write_tensors(path, {key: tensor for key, tensor in tensors.items() if not key.startswith(part)}, header)
    with pytest.raises(PccloraError, match=message):
        load(path)


def test_another_number_of_processes_is_refused(tmp_path):
    model, optimizer = trained()
    saved = state(model, optimizer)
    saved.rng *= 2
    checkpoints.save(tmp_path / "c", saved)
    with pytest.raises(PccloraError, match="c: written by 2 processes, not 1; resume the run on as many"):
        load(tmp_path / "c")


def test_a_checkpoint_without_a_checksum_is_read_with_a_warning(whole, tmp_path):
    path = tmp_path / "last.safetensors"
    path.write_bytes(whole)
    tensors, header = read_tensors(path, remedy="")
    save_file(tensors, path, {"pcclora_checkpoint": header["pcclora_checkpoint"]})
    with pytest.warns(UserWarning, match=r"last\.safetensors has no checksum, an earlier version wrote it"):
        assert load(path).epoch == 3
    save_file(tensors, path)
    with pytest.raises(PccloraError, match="not a training checkpoint"):
        load(path)


@pytest.mark.parametrize("slot", ["step", "exp_avg", "exp_avg_sq"])
def test_an_optimiser_slot_that_is_missing_is_refused(slot):
    model, optimizer = trained()
    tensors = checkpoints.optimizer_tensors(optimizer, model)
    del tensors[f"0.weight/{slot}"]
    with pytest.raises(PccloraError, match=f"optimiser state of '0.weight' lacks {slot}; copy the run"):
        checkpoints.load_optimizer_tensors(torch.optim.AdamW(model.parameters()), model, tensors)


@pytest.mark.parametrize("change", [lambda t: t[0], lambda t: torch.tensor(1.0), lambda t: t[:, :2]])
def test_an_optimiser_slot_of_another_shape_is_refused(change):
    model, optimizer = trained()
    tensors = checkpoints.optimizer_tensors(optimizer, model)
    tensors["0.weight/exp_avg"] = change(tensors["0.weight/exp_avg"])
    with pytest.raises(PccloraError, match="'0.weight/exp_avg' does not fit"):
        checkpoints.load_optimizer_tensors(torch.optim.AdamW(model.parameters()), model, tensors)


@pytest.mark.parametrize("name", ["torch", "numpy", "numpy_gauss", "python", "python_gauss"])
def test_a_generator_that_is_missing_is_refused(name):
    states = random_state.capture(CPU)
    del states[name]
    with pytest.raises(PccloraError, match="random generator is missing or damaged"):
        random_state.restore(states, CPU)


@pytest.mark.parametrize("name", ["torch", "numpy", "python"])
@pytest.mark.parametrize(
    "change", [torch.zeros_like, lambda t: t[:-3], lambda t: t[3:], lambda t: t[:0], lambda t: t[0]]
)
def test_a_generator_that_is_zeroed_or_short_is_refused(name, change):
    states = random_state.capture(CPU)
    states[name] = change(states[name])
    with pytest.raises(PccloraError, match="random generator is missing or damaged"):
        random_state.restore(states, CPU)


@pytest.mark.parametrize("name", ["numpy", "python"])
@pytest.mark.parametrize("change", [lambda t: t - 2**40, lambda t: t + 2**40])
def test_a_generator_of_words_that_are_none_is_refused(name, change):
    states = random_state.capture(CPU)
    states[name] = change(states[name])
    with pytest.raises(PccloraError, match="random generator is missing or damaged"):
        random_state.restore(states, CPU)


def test_another_model_is_refused():
    model, optimizer = trained()
    tensors = checkpoints.optimizer_tensors(optimizer, model)
    other = nn.Sequential(nn.Linear(3, 5))
    with pytest.raises(PccloraError, match="does not fit"):
        checkpoints.load_optimizer_tensors(torch.optim.AdamW(other.parameters()), other, tensors)
