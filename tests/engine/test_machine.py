"""What a machine cannot do of a training is said before anything is made; what it can do is done where it was asked."""

import functools
from types import SimpleNamespace

import pytest
import torch

from pcclora.engine import devices, environment, machine
from pcclora.engine.environment import make_accelerator
from pcclora.engine.machine import check_machine
from pcclora.engine.settings import Training
from pcclora.errors import PccloraError
from pcclora.runs.adapt import train
from tests.runs.test_adapt import assert_equal, cls

CPU = torch.device("cpu")


@pytest.fixture
def two_gpus(monkeypatch):
    """As if torch found two; its meta device stands for them."""
    chosen = []
    named = lambda: ("cpu", "meta", "meta:0", "meta:1")  # noqa: E731
    for module in (environment, machine, devices):
        monkeypatch.setattr(module, "devices_here", named)
    monkeypatch.setattr(
        torch, "accelerator", SimpleNamespace(is_available=lambda: True, set_device_index=chosen.append)
    )
    return chosen


def test_the_device_that_is_asked_for_is_taken(two_gpus):
    training = Training()
    training.device = "meta:1"
    check_machine(training, CPU)
    assert make_accelerator(training).device == torch.device("meta:1") == devices.device_of(training)
    assert two_gpus == [1]
    assert make_accelerator(Training(device="cpu")).device == CPU, "the next run of the process is on its own"


def test_a_device_that_is_not_here_is_refused_in_training_and_replaced_later(monkeypatch):
    training = Training(device="cuda:7")
    with pytest.raises(PccloraError, match=r"train.device is cuda:7: not on this machine, which has cpu"):
        check_machine(training, CPU)
    assert make_accelerator(training).device == make_accelerator(Training()).device
    for word in ("gpu", "cuda:", "cuda:x", "1"):
        with pytest.raises(PccloraError, match=f"device is '{word}'; choose auto, cpu, cuda, or one of several"):
            Training(device=word)


@pytest.mark.parametrize(
    ("known", "warned"),
    [
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_bf16_that_a_processor_only_emulates_is_warned_about(known, warned, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    check_machine(Training(precision="bf16"), CPU)
    assert ("train.precision=bf16: this processor has no instructions" in caplog.text) == warned
    caplog.clear()
    check_machine(Training(), CPU)
    assert not caplog.text


def test_one_of_several_devices_is_of_one_process(two_gpus, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    training = Training()
    training.device = "meta:1"
    with pytest.raises(PccloraError, match="there are several processes, each with a device of its own"):
        check_machine(training, CPU)


@pytest.mark.slow
def test_a_compiled_training_is_the_training(tmp_path, monkeypatch):
    """Without the code generator, which rounds otherwise, to the last bit."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    plain = train(cls("train.epochs=2"), tmp_path / "plain")
    assert_equal(plain, train(cls("train.epochs=2", "train.compile=true"), tmp_path / "compiled"))


def test_what_cannot_be_compiled_is_refused_before_a_folder_is_made(tmp_path, monkeypatch):
    def refuse(_):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", refuse)
    said = r"train.compile=true: torch.compile does not work here: .*No working C\+\+ compiler found; install what it"
    with pytest.raises(PccloraError, match=said):
        train(cls("train.compile=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_training_that_recomputes_is_the_training(tmp_path):
    plain = train(cls("train.epochs=2"), tmp_path / "plain")
    assert_equal(plain, train(cls("train.epochs=2", "train.checkpointing=true"), tmp_path / "recomputed"))


def test_what_has_no_blocks_cannot_recompute_and_a_compiler_decides_itself(tmp_path):
    with pytest.raises(PccloraError, match="train.checkpointing=true: PointNet has no blocks that could be recomputed"):
        train(cls("model=pointnet", "checkpoint=none", "adapter=full", "train.checkpointing=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(PccloraError, match="checkpointing and compile are both true"):
        cls("train.checkpointing=true", "train.compile=true")
