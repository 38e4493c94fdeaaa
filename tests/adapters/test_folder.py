"""The two files of an adapter: whole, or not at all, or refused."""

import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pcclora import adapters as ad
from pcclora.adapters.files.card import CARD
from pcclora.adapters.files.folder import CONFIG, TENSORS
from pcclora.errors import PccloraError
from pcclora.tensor_file import checksum
from tests.adapters.backbones import BACKBONES, fused_vit
from tests.adapters.files import assert_refused, moved, read, rewrite, saved, trained


def test_the_header_says_what_wrote_it(tmp_path):
    model, _ = saved(tmp_path)
    _, header = read(tmp_path)
    assert header["pcclora_format"] == "1" and header["torch_version"] == torch.__version__
    assert header["pcclora_base_sha256"] == ad.base_fingerprint(model)
    assert header["pcclora_version"] and len(header["pcclora_sha256"]) == 64


@pytest.mark.parametrize("file", [CONFIG, TENSORS])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html></html>", b"\x00" * 64, b"[1, 2]", b"[" * 10**5])
def test_something_else_in_place_of_a_file_is_refused(file, content, tmp_path):
    saved(tmp_path)
    (tmp_path / file).write_bytes(content)
    assert_refused(tmp_path, file)


@pytest.mark.parametrize("settings", ["{", "[]", "3", '{"r": NaN}', "[" * 10**5, '{"r":' * 10**5])
def test_settings_in_the_header_that_are_none_are_refused(settings, tmp_path):
    saved(tmp_path)
    rewrite(tmp_path, pcclora_config=settings)
    assert_refused(tmp_path, f"{TENSORS}: pcclora_config in its header: ")


@pytest.mark.parametrize("entry", ["pcclora_sha256", "pcclora_config", "pcclora_base_sha256"])
def test_a_header_that_lacks_an_entry_is_refused(entry, tmp_path):
    saved(tmp_path)
    tensors, header = read(tmp_path)
    del header[entry]
    if "pcclora_sha256" in header:
        header["pcclora_sha256"] = checksum(tensors, header)
    save_file(tensors, tmp_path / TENSORS, metadata=header)
    assert_refused(tmp_path, f"its header has no {entry}: it is damaged")


def test_the_same_adapter_is_the_same_file(tmp_path):
    for folder in ("a", "b"):
        saved(tmp_path / folder)
    first, second = ((tmp_path / folder / TENSORS).read_bytes() for folder in ("a", "b"))
    assert first == second


def test_without_its_config_an_adapter_of_ours_loads_and_one_of_peft_does_not(tmp_path):
    model, x = saved(tmp_path, "lora", "mlp")
    (tmp_path / CONFIG).unlink()
    fresh, _ = BACKBONES["mlp"]()
    with pytest.warns(UserWarning, match=f"{CONFIG} is absent"):
        ad.load_adapter(fresh, tmp_path)
    assert torch.equal(fresh(x), model(x))
    save_file(read(tmp_path)[0], tmp_path / TENSORS)
    assert_refused(tmp_path, f"{CONFIG}: no such file; copy it too", "mlp")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert_refused(
        tmp_path / "nowhere", "nowhere/adapter_model.safetensors: no such file; a saved adapter is a folder with"
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder in each form, and what it holds."""
    made = {}
    for method, backbone in (("clora", "fused_vit"), ("lora", "mlp")):
        folder = tmp_path_factory.mktemp(method)
        model, _ = saved(folder, method, backbone)
        made[backbone] = folder, dict(ad.adapter_tensors(model)), BACKBONES[backbone]()[0]
    return made


@pytest.mark.filterwarnings("ignore:.*which counts")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    backbone=st.sampled_from(["fused_vit", "mlp"]),
    file=st.sampled_from([CONFIG, TENSORS, TENSORS]),
    place=st.one_of(st.integers(0, 1500), st.integers(-1500, -1)),
    flip=st.integers(0, 255),
    cut=st.booleans(),
)
def test_any_flipped_byte_or_cut_is_refused_or_changes_nothing(folders, tmp_path, backbone, file, place, flip, cut):
    folder, expected, model = folders[backbone]
    for name in (CONFIG, TENSORS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    data = bytearray((folder / file).read_bytes())
    place %= len(data)
    data[place] ^= flip
    (tmp_path / file).write_bytes(data[: place if cut else None])
    try:
        ad.load_adapter(model, tmp_path)
    except PccloraError:
        assert not hasattr(model, "adapters")
        return
    loaded = ad.adapter_tensors(model)
    assert all(torch.equal(loaded[key], tensor) for key, tensor in expected.items())
    ad.detach(model)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("method", ["clora", "clora_shared"])
@pytest.mark.filterwarnings("ignore:.*which counts")
def test_an_interrupted_overwrite_loads_as_one_of_both(method, step, when, tmp_path, monkeypatch):
    old, x = saved(tmp_path, "clora")
    new, _ = trained(method)
    moved(new)
    real, calls = os.replace, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == step + 1 and when == "before":
            raise KeyboardInterrupt
        real(source, target)
        if len(calls) == step + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ad.save_adapter(new, tmp_path)
    monkeypatch.undo()
    done = step + (when == "after")  # files replaced
    model, _ = fused_vit()
    ad.load_adapter(model, tmp_path)
    assert torch.equal(model(x), (new if done else old)(x))
    ad.save_adapter(new, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CARD, CONFIG, TENSORS]


def test_values_that_are_not_finite_are_not_saved(tmp_path):
    model, _ = saved(tmp_path)
    before = (tmp_path / TENSORS).read_bytes()
    ad.adapter_tensors(model)["groups.16x16.Q"][0, 0, 0, 0] = float("nan")
    with pytest.raises(PccloraError, match=r"'groups.16x16.Q' is not finite, so it is not saved"):
        ad.save_adapter(model, tmp_path)
    assert (tmp_path / TENSORS).read_bytes() == before


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "adapter").write_text("precious")
    with pytest.raises(PccloraError, match="adapter: cannot be written: File exists"):
        ad.save_adapter(trained()[0], tmp_path / "adapter")
    assert (tmp_path / "adapter").read_text() == "precious"
