"""SIGKILL at any moment: the resumed run ends with the same weights, optimiser state and metrics.csv, bit for bit."""

import multiprocessing
import os
import random
import runpy
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pcclora import adapters as ad
from pcclora.engine import checkpoint as checkpoints

VICTIM = str(Path(__file__).with_name("victim.py"))
WHOLE = ["metrics.csv", "checkpoint/last.safetensors"]
LEFT = {
    "cls": [*WHOLE, "predictions.csv"],
    "partseg": [*WHOLE, "predictions.csv", "predicted_parts.safetensors"],
    "image": [*WHOLE, "predictions.csv"],
    "pretrain": [*WHOLE, "model.safetensors"],
}
OVERRIDES = {
    "cls": ["train.epochs=8", "selection=validation", "validation_fraction=0.3"],
    "partseg": ["train.epochs=8", "selection=validation", "validation_fraction=0.3"],
    "image": ["train.epochs=8", "selection=validation", "validation_fraction=0.3"],
    "pretrain": ["train.epochs=8"],
}
MOMENTS = [("replace", 2), ("half", 1), ("replaced", 4), ("fsync", 9), ("half", 2), ("replace", 5)]


@pytest.fixture(scope="module")
def server():
    """Forks a fresh process in milliseconds: torch is imported once, and nothing was computed with it."""
    context = multiprocessing.get_context("forkserver")
    torch_parts = ["torch.utils.tensorboard", "torch._dynamo"]
    context.set_forkserver_preload([*torch_parts, "accelerate", "pcclora.runs.adapt", "pcclora.runs.pretrain"])
    return context


def start(server, task, folder, moment=None, overrides=None):
    given = {"task": task, "folder": str(folder), "overrides": overrides or OVERRIDES[task], "moment": moment}
    process = server.Process(target=runpy.run_path, args=(VICTIM, given))
    process.start()
    return process


def finish(process):
    process.join(120)
    code = process.exitcode
    process.close()
    return code


@pytest.mark.slow
@pytest.mark.parametrize("task", ["cls", "partseg", "image", "pretrain"])
def test_a_killed_run_ends_as_if_nothing_had_happened(server, tmp_path, task):
    assert finish(start(server, task, tmp_path / "whole")) == 0
    kills = 0
    for moment in MOMENTS:
        code = finish(start(server, task, tmp_path / "killed", moment))
        assert code in (0, -signal.SIGKILL)
        kills += code == -signal.SIGKILL
    assert kills >= 6
    assert finish(start(server, task, tmp_path / "killed")) == 0
    assert_equal(task, tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("wanted", [pytest.param(6, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.long)])
def test_a_run_killed_from_outside_at_random_times(server, tmp_path, wanted):
    finish(start(server, "cls", tmp_path / "first"))  # the server's own start is in the time of the first
    began = time.monotonic()
    assert finish(start(server, "cls", tmp_path / "whole")) == 0
    whole_time, draw, kills, tries = time.monotonic() - began, random.Random(wanted), 0, 5 * wanted
    for attempt in range(tries):
        folder = tmp_path / f"killed{attempt}"
        process = start(server, "cls", folder)
        process.join(draw.uniform(0.1, 0.9) * whole_time)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        kills += finish(process) == -signal.SIGKILL
        assert finish(start(server, "cls", folder)) == 0
        assert_equal("cls", tmp_path / "whole", folder)
        if kills == wanted:
            print(f"\nruns killed at random times, resumed and equal: {kills} of {kills}")
            return
    pytest.fail(f"only {kills} of {tries} runs were caught before their end")


def rank_of(folder):
    """Load the adapter; its rank tells the old one from the new one, and every number in it is the rank."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Linear(32, 4))
    adapter = ad.load_adapter(model, folder)
    assert all((parameter == adapter.config.r).all() for parameter in adapter.parameters())
    return adapter.config.r


def epoch_of(folder):
    state = checkpoints.load(folder / "last.safetensors")
    assert (state.weights["weight"] == state.epoch).all() and (state.optimizer["weight"] == state.epoch).all()
    return state.epoch


SAVES = {"adapter": (rank_of, 8, 16, 3), "checkpoint": (epoch_of, 3, 4, 1)}
"""How to tell what lies in a folder, what is the old and the new one, and how many files are written (of an adapter
the card, too)."""


@pytest.mark.slow
@pytest.mark.parametrize("task", SAVES)
@pytest.mark.filterwarnings("ignore:.*which counts")
def test_a_save_killed_at_any_step_leaves_the_old_one_or_the_new_one(server, tmp_path, task):
    read, old, new, files = SAVES[task]
    kills, found = 0, []
    for kind in ("half", "fsync", "replace", "replaced"):
        for step in range(1, 100):
            folder = tmp_path / f"{kind}{step}"
            folder.mkdir()
            assert finish(start(server, task, folder, overrides=[old])) == 0
            before = sorted(path.name for path in folder.iterdir())
            code = finish(start(server, task, folder, (kind, step), overrides=[new]))
            found.append(read(folder))
            assert found[-1] == new if code == 0 else found[-1] in (old, new)
            assert finish(start(server, task, folder, overrides=[new])) == 0
            assert read(folder) == new and sorted(path.name for path in folder.iterdir()) == before
            if code == 0:
                break
            kills += 1
    assert kills == 1 + 2 * files + files + files  # half of the tensors; a file and its folder flushed; each renamed
    assert {old, new} == set(found)


@pytest.mark.long
@pytest.mark.parametrize("task", SAVES)
@pytest.mark.filterwarnings("ignore:.*which counts")
def test_saves_killed_at_random_times_leave_the_old_one_or_the_new_one(server, tmp_path, task):
    read, old, new, _ = SAVES[task]
    assert finish(start(server, task, tmp_path, overrides=[old])) == 0
    before, draw, found = sorted(path.name for path in tmp_path.iterdir()), random.Random(0), []
    for _ in range(100):
        process = start(server, task, tmp_path, overrides=[new, old] * 100_000)
        process.join(draw.uniform(0.02, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        assert finish(process) == -signal.SIGKILL
        found.append(read(tmp_path))
        assert found[-1] in (old, new)
    assert finish(start(server, task, tmp_path, overrides=[new])) == 0
    assert read(tmp_path) == new and sorted(path.name for path in tmp_path.iterdir()) == before
    counts = f"{found.count(old)} old, {found.count(new)} new"
    print(f"\nsaves of {task} killed at random times: {len(found)}; lost 0; found {counts}")
    assert {old, new} == set(found)


def assert_equal(task, whole, resumed):
    for name in LEFT[task]:
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name
    if task != "pretrain":
        first, second = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (whole, resumed))
        assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert (resumed / "summary.json").is_file()
