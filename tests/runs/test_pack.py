"""A run as one file: whole, without a word of where it was made, and refused where anything of it was changed."""

import hashlib
import json
import random
import shutil
import zipfile

import numpy as np
import pytest
import torch

import pcclora
from pcclora.registry import MODELS
from pcclora.runs import TrainedRun
from pcclora.runs.pack import read_pack
from pcclora.tasks.registry import load_run_config
from tests.runs.conftest import trained
from tests.tools.test_tools import TINY, call

CLOUD = np.random.default_rng(0).normal(size=(400, 3))
ALL = {
    "config.yaml",
    "versions.json",
    "summary.json",
    "adapter/adapter_config.json",
    "orientation.json",
}
ALL |= {"pack.json", "adapter/adapter_model.safetensors"}


def ask(run):
    options = {"category": "chair"} if run.task == "partseg" else {}
    return run.predict(CLOUD, **options).probabilities


@pytest.fixture(scope="module")
def packed(folders, tmp_path_factory):
    return TrainedRun.open(folders["cls"]).pack(tmp_path_factory.mktemp("packs") / "run.pcclora")


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("task", ["cls", "partseg"])
def test_a_pack_answers_as_the_run_does_and_is_the_same_each_time(folders, tmp_path, task, weights):
    run = pcclora.load_run(folders[task])
    file, again = (run.pack(tmp_path / name, weights=weights) for name in ("a.pcclora", "b.zip"))
    assert file.read_bytes() == again.read_bytes()
    members = set(zipfile.ZipFile(file).namelist())
    further = {"weights.safetensors"} if weights else set()
    assert members == ALL | further | ({"likeness.safetensors"} if task == "cls" else set())
    loaded = pcclora.load_run(file)
    assert np.array_equal(ask(loaded), ask(run))
    assert (loaded.path, loaded.task, loaded.classes, loaded.parts) == (file, run.task, run.classes, run.parts)
    unpacked = loaded.folder.path
    assert unpacked.stat().st_mode & 0o077 == 0
    del loaded
    assert not unpacked.exists()


def test_what_is_on_images_is_packed_too(tmp_path):
    run = pcclora.load_run(trained(tmp_path, "image"))
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    loaded = pcclora.load_run(run.pack(weights=True))
    assert loaded.path == tmp_path / "image.pcclora"
    assert np.array_equal(loaded.predict(pixels).probabilities, run.predict(pixels).probabilities)


@pytest.fixture(scope="module")
def on_a_file(tmp_path_factory):
    """A run on the weights of a file and on data of a folder, both in a place that has a name."""
    home = tmp_path_factory.mktemp("a home that is private")
    torch.manual_seed(3)
    model = MODELS.build(load_run_config(TINY / "cls.yaml").model, task="cls", num_classes=5)
    torch.save(model.state_dict(), home / "base.pth")
    for name in ("cup", "mug"):
        (home / "scans" / name).mkdir(parents=True)
        for number in range(8):
            np.save(home / "scans" / name / f"{number}.npy", np.random.default_rng(number).normal(size=(80, 3)))
    words = [f"checkpoint={home / 'base.pth'}", f"data={{name: folder, root: {home / 'scans'}}}"]
    return trained(home, "cls", *words, "train.batch_size=4")


def test_nothing_says_where_it_was_made(on_a_file, tmp_path):
    content = TrainedRun.open(on_a_file).pack(tmp_path / "a.pcclora", weights=True).read_bytes()
    assert b"private" in (on_a_file / "config.yaml").read_bytes()
    assert b"private" not in content and b"processor" not in content and b"0.npy" not in content


def test_the_base_is_in_it_or_asked_for(on_a_file, tmp_path, monkeypatch):
    run = TrainedRun.open(on_a_file)
    expected = ask(run)
    bare, whole = (run.pack(tmp_path / str(weights), weights=weights) for weights in (False, True))
    base = shutil.move(on_a_file.parent / "base.pth", tmp_path / "elsewhere.pth")
    try:
        monkeypatch.chdir("/")
        assert np.array_equal(ask(pcclora.load_run(whole)), expected)
        with pytest.raises(pcclora.PccloraError, match=r"^checkpoint base\.pth: no such file; if it has moved, say"):
            pcclora.load_run(bare)
        assert np.array_equal(ask(pcclora.load_run(bare, checkpoint=base)), expected)
        other = tmp_path / "other.pth"
        torch.save({name: tensor + 1 for name, tensor in torch.load(base).items()}, other)
        with pytest.raises(pcclora.PccloraError, match="trained on other base weights") as error:
            pcclora.load_run(bare, checkpoint=other)
        assert str(error.value).startswith(str(bare))  # and not where it is unpacked
    finally:
        shutil.move(base, on_a_file.parent / "base.pth")


def contents(pack, folder):
    folder.mkdir()
    read_pack(pack, folder)
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cut_or_changed_pack_is_refused_or_holds_the_very_same(packed, tmp_path):
    whole, draw, refused = packed.read_bytes(), random.Random(0), 0
    expected = contents(packed, tmp_path / "whole")
    changed = tmp_path / "changed.pcclora"
    for number in range(300):
        data = bytearray(whole)
        if number % 3 == 0:
            del data[draw.randrange(len(data)) :]
        else:  # anywhere, or in the list of members and the comment at the end
            data[draw.randrange(len(data) if number % 3 == 1 else 1200) * (1 if number % 3 == 1 else -1)] ^= (
                1 << number % 8
            )
        changed.write_bytes(data)
        try:
            assert contents(changed, tmp_path / str(number)) == expected
        except pcclora.PccloraError as error:
            refused += 1
            assert str(error).startswith(f"{changed}: ")
    assert refused > 250


def rewritten(packed, target, change):
    """Write a pack with other members; the digests fit."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("pack.json"))
    change(manifest, members)
    text = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in {"pack.json": text, **members}.items():
            archive.writestr(name, content)
        archive.comment = f"pcclora pack sha256 {hashlib.sha256(text).hexdigest()}".encode()
    return target


def added(name):
    def change(manifest, members):
        members[name] = b"x"
        manifest["files"][name] = hashlib.sha256(b"x").hexdigest()

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (added("../../outside"), "has other members than a pack has"),
        (added("/tmp/outside"), "has other members than a pack has"),  # noqa: S108 - is not written
        (added("adapter/../../outside"), "has other members than a pack has"),
        (lambda manifest, members: members.pop("summary.json"), "has other members than a pack has"),
        (lambda manifest, members: members.update({"summary.json": b"{}"}), "summary.json is not what was packed"),
        (lambda manifest, members: manifest.update(format=2), "its form is 2, this version reads 1"),
        (lambda manifest, members: manifest.update(files=[]), "files"),
    ],
)
def test_a_pack_that_someone_made_up_is_refused(packed, tmp_path, change, words):
    target = rewritten(packed, tmp_path / "made up.pcclora", change)
    with pytest.raises(pcclora.PccloraError, match=words) as error:
        pcclora.load_run(target)
    assert str(error.value).startswith(str(target)) and not (tmp_path.parent / "outside").exists()


def test_other_archives_and_files_are_refused(packed, tmp_path):
    with zipfile.ZipFile(tmp_path / "foreign.zip", "w") as archive:
        archive.writestr("config.yaml", "task: cls")
    with zipfile.ZipFile(packed) as archive, zipfile.ZipFile(tmp_path / "deflated", "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
        other.comment = archive.comment
    (tmp_path / "text").write_text("task: cls")
    for name, words in {
        "foreign.zip": "a zip archive, but no pack of a run",
        "deflated": "its members are not stored as a pack has them",
        "text": "neither a run folder nor a whole pack of one",
    }.items():
        with pytest.raises(pcclora.PccloraError, match=words):
            pcclora.load_run(tmp_path / name)


def test_what_cannot_be_packed_leaves_nothing(folders, packed, tmp_path):
    before = packed.read_bytes()
    with pytest.raises(pcclora.PccloraError, match="is never overwritten"):
        TrainedRun.open(folders["cls"]).pack(packed)
    assert packed.read_bytes() == before
    unfinished = shutil.copytree(folders["cls"], tmp_path / "run")
    (unfinished / "summary.json").unlink()
    with pytest.raises(pcclora.PccloraError, match="not finished"):
        TrainedRun.open(unfinished).pack()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_commands_take_it_where_a_folder_is_taken(folders, tmp_path, capsys):
    np.save(tmp_path / "scan.npy", CLOUD)
    run = shutil.copytree(folders["cls"], tmp_path / "run")
    assert call("pack", run, "--weights") == 0
    assert "run.pcclora (" in (said := capsys.readouterr().out) and "base weights included" in said
    assert call("predict", tmp_path / "scan.npy", "--run", run) == 0
    expected = capsys.readouterr().out
    assert call("predict", tmp_path / "scan.npy", "--run", tmp_path / "run.pcclora") == 0
    assert capsys.readouterr().out == expected
    assert call("evaluate", "--run", tmp_path / "run.pcclora") == 0
    assert "a pack does not say what the run was trained and tested on" in capsys.readouterr().err
    for words in (["evaluate", "--new-files"], ["visualize"], ["pack"]):
        rest = [tmp_path / "run.pcclora"] if words == ["pack"] else [*words[1:], "--run", tmp_path / "run.pcclora"]
        assert call(words[0], *rest) == 2
        assert f"{tmp_path / 'run.pcclora'}: " in capsys.readouterr().err
