"""Damaged, foreign and hostile files: one clear error each, and nothing in them runs."""

import argparse
import gc
import os
import pickle
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pcclora.errors import PccloraError
from pcclora.models import read_checkpoint

STATE = {"norm.weight": torch.arange(6.0), "norm.bias": torch.ones(2, 3)}


class Hostile:
    """Runs a command when it is unpickled in the ordinary way."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def refused(file, message):
    with pytest.raises(PccloraError, match=message) as error:
        read_checkpoint(file)
    assert file.name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("scalar", [np.float64(0.9), np.float32(0.9), np.int64(3), np.bool_(True)])
def test_numpy_scalars_are_read(scalar, tmp_path):
    torch.save({"model_state_dict": STATE, "test_acc": scalar}, tmp_path / "a.pth")
    assert all(torch.equal(value, STATE[key]) for key, value in read_checkpoint(tmp_path / "a.pth").items())


def test_numpy_scalars_pickled_under_the_old_module_path_are_read(tmp_path):
    torch.save({"base_model": STATE, "acc": np.float64(1)}, tmp_path / "new.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "new.pth").read_bytes()
    assert b"numpy._core.multiarray" in content
    (tmp_path / "old.pth").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert set(read_checkpoint(tmp_path / "old.pth")) == set(STATE)


@pytest.mark.parametrize("old_format", [True, False])
def test_hostile_pickles_are_refused_by_name(old_format, tmp_path):
    marker = tmp_path / "ran"
    torch.save(
        {"base_model": STATE, "metrics": Hostile(marker)},
        tmp_path / "a.pth",
        _use_new_zipfile_serialization=not old_format,
    )
    refused(tmp_path / "a.pth", r"holds Python objects \('(posix|nt).system'\) that could run code")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Hostile(marker)))
    refused(tmp_path / "b.pth", "b.pth: ")
    assert not marker.exists()


def test_the_command_line_of_a_training_is_read_over(tmp_path):
    arguments = argparse.Namespace(lr=0.1, output_dir="runs", nested=argparse.Namespace(epochs=3))
    torch.save({"model": STATE, "args": arguments, "epoch": 3}, tmp_path / "a.pth")
    assert set(read_checkpoint(tmp_path / "a.pth")) == set(STATE)


@pytest.mark.parametrize("old_format", [True, False])
def test_nothing_runs_through_the_command_line_of_a_training(old_format, tmp_path):
    marker, arguments = tmp_path / "ran", argparse.Namespace()
    arguments.inside = Hostile(marker)
    torch.save({"model": STATE, "args": arguments}, tmp_path / "a.pth", _use_new_zipfile_serialization=not old_format)
    refused(tmp_path / "a.pth", "could run code")
    state, made = b"}\x8c\x01aK\x01s", b"\x80\x02cargparse\nNamespace\n"
    for program in (
        made + b"(Vtouch " + str(marker).encode() + b"\ntR.",  # called with an argument
        made + state + b"b.",  # the class itself is changed
        made + b")\x81(N}\x8c\x09__class__cposix\nsystem\nstb.",  # an attribute is a foreign name
        made + b")\x81(N}\x8c\x08__init__cargparse\nArgumentParser\nstb.",
        b"\x80\x02cargparse\nNamespace.__init__\n.",
    ):
        (tmp_path / "b.pth").write_bytes(program)
        refused(tmp_path / "b.pth", "b.pth: ")
    assert not marker.exists()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("suffix", ["npz", "pth"])
def test_a_file_that_unfolds_to_far_more_is_refused_before_it_is_read(suffix, compressed, tmp_path):
    file = tmp_path / f"a.{suffix}"
    if suffix == "npz":
        np.savez(file, w=np.zeros(30 * 2**20, "f4"))
    else:
        torch.save({"w": torch.zeros(30 * 2**20)}, file)
    if not compressed:
        assert read_checkpoint(file)["w"].shape == (30 * 2**20,)
        return
    with zipfile.ZipFile(file) as plain, zipfile.ZipFile(tmp_path / "b", "w", zipfile.ZIP_DEFLATED) as packed:
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    (tmp_path / "b").replace(file)
    tracemalloc.start()
    refused(file, r"declares 125,\d+,\d+ bytes, of which \d+,\d+ are stored")
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.eye(3).to_sparse(), "'w' holds torch.sparse_coo; save it as a plain dense tensor"),
        (torch.empty(3, device="meta"), "'w' holds no numbers"),
        (torch.zeros(1).expand(10**5, 10**5), "'w': declares 40,000,000,000 bytes, of which 4 are stored"),
    ],
)
def test_tensors_that_are_not_their_numbers_are_refused(tensor, message, tmp_path):
    torch.save({"model": {"w": tensor}}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", message)


def test_the_file_is_closed_again(tmp_path):
    torch.save(STATE, tmp_path / "a.pth")
    save_file(STATE, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **STATE)
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        held = [read_checkpoint(tmp_path / f"a.{suffix}") for suffix in ("pth", "safetensors", "npz")]
        gc.collect()
    assert len(held) == 3
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_a_header_nested_without_end_is_refused(tmp_path):
    header = b'{"a":' * 100_000
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    refused(tmp_path / "a.safetensors", "damaged or truncated .safetensors")


def test_whole_models_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "'torch.nn.modules.linear.Linear'.*save the state dict alone")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "web page"),
        (b"\n  <html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer"),
        (b"hello", "neither a .pth nor a .safetensors nor an .npz"),
        (b"PK\x03\x04" + b"\0" * 40, "damaged or truncated"),
        (b"\x10\0\0\0\0\0\0\0{" + b"x" * 40, "damaged or truncated .safetensors"),
    ],
)
def test_not_a_checkpoint(content, message, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    refused(tmp_path / "a.pth", message)


def test_absent_and_folder(tmp_path):
    refused(tmp_path / "absent.pth", "no such file")
    refused(tmp_path, "is a folder")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {}, {"base_model": {}}, "text"])
def test_files_without_weights(content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "holds no weights")


@pytest.mark.parametrize("form", ["zip", "old", "safetensors", "npz"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_truncation_is_one_error(form, data, tmp_path):
    file = tmp_path / ("a.npz" if form == "npz" else "a.pth")
    if form == "safetensors":
        save_file(STATE, file)
    elif form == "npz":
        np.savez(file, **STATE)
    else:
        torch.save({"base_model": STATE}, file, _use_new_zipfile_serialization=form == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(PccloraError, match=file.name):
        read_checkpoint(file)


@pytest.mark.parametrize("form", ["pth", "npz"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_any_changed_byte_is_read_or_one_error(form, place, byte, tmp_path):
    file = tmp_path / f"a.{form}"
    np.savez(file, **STATE) if form == "npz" else torch.save({"base_model": STATE}, file)
    content = bytearray(file.read_bytes())
    content[place % len(content)] = byte
    file.write_bytes(content)
    try:
        assert read_checkpoint(file)
    except PccloraError as error:
        assert file.name in str(error)
