"""The tools as a user calls them: what they print, what they write, how they refuse."""

import base64
import gzip
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from pcclora.tensor_file import read_tensors, write_tensors

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "tiny"


def call(tool, *arguments):
    """Run a tool in this process; returns its exit code."""
    before = sys.argv
    sys.argv = [tool, *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "tools" / f"{tool}.py"), run_name="__main__")
    except SystemExit as stopped:
        return stopped.code
    finally:
        sys.argv = before
    return 0


def train(output, *arguments):
    return call("train_cls", "--config", TINY / "cls.yaml", "--output", output, *arguments)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Base weights in a file, so that they can move."""
    folder = tmp_path_factory.mktemp("base")
    export = folder / "base.safetensors"
    assert call("pretrain", "--config", TINY / "pretrain.yaml", "--output", folder / "run", "--export", export) == 0
    assert (folder / "run" / "curves.png").stat().st_size > 5000
    return export


@pytest.fixture(scope="module")
def run(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(folder, f"checkpoint={base}") == 0
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One cloud in each kind of file."""
    trimesh, laspy = pytest.importorskip("trimesh"), pytest.importorskip("laspy")
    folder = tmp_path_factory.mktemp("files")
    points = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    np.save(folder / "a.npy", points)
    np.savez(folder / "a.npz", points=points)
    for suffix in ("txt", "xyz"):
        np.savetxt(folder / f"a.{suffix}", points, fmt="%.9g")
    trimesh.PointCloud(points).export(folder / "a.ply")
    for suffix in ("off", "obj", "stl"):
        trimesh.creation.icosphere().export(folder / f"mesh.{suffix}")
    header = laspy.LasHeader(point_format=0)
    header.scales = np.full(3, 1e-7)
    las = laspy.LasData(header)
    las.x, las.y, las.z = points.T.astype(np.float64)
    las.write(folder / "a.las")
    head = (
        "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 300\nHEIGHT 1\nPOINTS 300\nDATA ascii\n"
    )
    (folder / "a.pcd").write_text(head + "\n".join(" ".join(f"{v:.9g}" for v in p) for p in points) + "\n")
    return sorted(folder.iterdir())


TOOLS = {
    "train_cls": ["adapter=lora", "adapter.r=4", "--seeds", "0", "1", "train.epochs=7", "--jobs", "2"],
    "pretrain": ["train.epochs=7", "--export", "weights.safetensors"],
    "evaluate": ["--run", "absent", "votes=3"],
    "predict": ["scan.ply", "--run", "absent", "--checkpoint", "moved.pth"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_dry_run_resolves_everything_and_touches_nothing(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(tool, "--dry-run", *TOOLS[tool]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# dry run: nothing was done\n") and not any(tmp_path.iterdir())
    resolved = yaml.safe_load(printed)
    if tool in ("train_cls", "pretrain"):
        assert resolved["train"]["epochs"] == 7 and resolved["data"]["name"] == "procedural"
    else:
        assert "# run: absent" in printed


def test_a_dry_run_of_another_protocol(run, capsys):
    assert call("evaluate", "--run", run, "votes=3", "--dry-run") == 0
    assert yaml.safe_load(capsys.readouterr().out)["votes"] == 3


def test_the_resolved_configuration_is_a_configuration(tmp_path, capsys):
    assert call("train_cls", "--dry-run", "adapter.r=3") == 0
    (tmp_path / "c.yaml").write_text(first := capsys.readouterr().out)
    assert call("train_cls", "--dry-run", "--config", tmp_path / "c.yaml") == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(first)


def test_the_table_fits_a_terminal(run, capsys):
    assert call("train_cls", "--resume", run) == 0
    table = capsys.readouterr().out
    for word in (
        "accuracy",
        "mean class accuracy",
        "trained parameters",
        "GMACs",
        "an epoch",
        "peak memory",
        "adapter",
    ):
        assert word in table
    assert "augmentation mn40_st, 64 points, no votes, weights of the last epoch" in table
    assert max(len(line) for line in table.splitlines() if "folder:" not in line and "next:" not in line) <= 80


def test_the_pictures_are_drawn(run):
    assert (run / "curves.png").stat().st_size > 5000 and (run / "confusion.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["train.epoch=3", "adaptor=lora"],
            ["train.epoch: unknown key; did you mean 'epochs'?", "did you mean 'adapter'?"],
        ),
        (["adapter=clara"], ["unknown adapter 'clara'; did you mean 'clora'?"]),
        (["train.epochs=many"], ["train.epochs"]),
        (["checkpoint=absent.pth"], ["absent.pth: no such file"]),
        (["--seeds", "0", "0"], ["--seeds 0 0"]),
        (["--seeds", "x"], ["--seeds x: a whole number is expected"]),
        (["--plugin", "absent.py"], ["--plugin absent.py: no such file"]),
        (["augmentation=scan_rott"], ["scan_rott"]),
        (["points=5"], ["5"]),
        (["--seeds", "0", "1", "points=5"], ["5"]),
        (["--seeds", "0", "1", "--jobs", "-1"], ["--jobs -1"]),
        (["--seeds", "0", "1", "--shard", "3/2"], ["--shard 3/2: the shards of 2 are 1/2 to 2/2"]),
        (["--seeds", "0", "1", "--shard", "0/2"], ["--shard 0/2"]),
        (["--seeds", "0", "1", "--shard", "2"], ["--shard 2: a share is expected, as 3/16"]),
        (["--seeds", "0", "1", "--shard", "1/x"], ["--shard 1/x: a share is expected, as 3/16"]),
        (["--shard", "1/2"], ["this is one: give --seeds"]),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(tmp_path, capsys, arguments, words):
    assert train(tmp_path / "run", *arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "Traceback" not in message
    assert all(word in message for word in words), message
    assert not any(tmp_path.iterdir())


def test_a_run_is_never_overwritten(run, capsys):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    assert train(run) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in run.rglob("*")}


def test_a_resumed_run_cannot_become_another(run, capsys):
    assert call("train_cls", "--resume", run, "train.epochs=9") == 2
    assert "leave out train.epochs=9" in capsys.readouterr().err


def test_resuming_what_is_not_a_run(tmp_path, capsys):
    assert call("train_cls", "--resume", tmp_path / "absent") == 2
    assert "absent" in capsys.readouterr().err


def test_every_kind_of_file_is_predicted(run, files, capsys):
    assert call("predict", *files, "--run", run, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    classes = json.loads((run / "summary.json").read_text())["classes"]
    assert list(found) == [str(file) for file in files]
    for probabilities in (own["classes"] for own in found.values()):
        assert set(probabilities) == set(classes)
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
    same = [found[str(file)]["classes"] for file in files if file.stem == "a"]
    assert all(p == pytest.approx(same[0], abs=2e-3) for p in same)  # one cloud, seven forms
    assert call("predict", files[0], "--run", run) == 0
    assert "%" in capsys.readouterr().out


def test_predictions_are_seen(run, files, tmp_path, capsys):
    png, html = tmp_path / "a.png", tmp_path / "a.html"
    assert call("predict", *files[:2], "--run", run, "--png", png, "--html", html, "--title", "Two scans") == 0
    table = capsys.readouterr().out
    assert table.endswith(f"wrote {png}\nwrote {html}\n")
    assert png.stat().st_size > 5000 and "<h1>Two scans</h1>" in html.read_text()
    details = re.search('id="details">([^<]+)<', html.read_text())[1]
    told = json.loads(gzip.decompress(base64.b64decode(details)))["objects"]
    for object_, line, file in zip(told, table.splitlines(), files, strict=False):
        assert object_["facts"].startswith(file.name) and str(tmp_path) not in object_["facts"]
        first = object_["answer"]["likely"][0]
        assert f"{first['name']} {first['percent']}%" in line
    assert call("predict", files[0], "--run", run, "--ply", tmp_path / "a.ply") == 2
    assert "--ply: " in capsys.readouterr().err and not (tmp_path / "a.ply").exists()


@pytest.mark.parametrize("name", ["absent.npy", "scan.docx", "nan.npy"])
def test_a_bad_file_is_named(run, tmp_path, capsys, name):
    if name == "nan.npy":
        np.save(tmp_path / name, np.full((5, 3), np.nan))
    assert call("predict", tmp_path / name, "--run", run) == 2
    assert name in capsys.readouterr().err


def test_evaluation_repeats_the_run(run, tmp_path, capsys):
    assert call("evaluate", "--run", run, "--output", tmp_path / "again") == 0
    first, again = (json.loads((path / "summary.json").read_text()) for path in (run, tmp_path / "again"))
    assert again["metrics"] == first["metrics"]
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    assert call("evaluate", "--run", run, "--output", tmp_path / "again") == 2
    assert "never overwritten" in capsys.readouterr().err


def test_votes_are_labelled(run, capsys):
    assert call("evaluate", "--run", run, "votes=2") == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "accuracy (mean of 2 votes)" in table and "2 votes" in table


def test_the_best_of_several_draws_of_votes_is_labelled(run, tmp_path, capsys):
    seeds = [call("evaluate", "--run", run, "votes=2", f"seed={n}", "--output", tmp_path / str(n)) for n in range(3)]
    assert call("evaluate", "--run", run, "votes=2", "best_of=3", "--output", tmp_path / "best") == 0 == max(seeds)
    table = " ".join(capsys.readouterr().out.split())
    assert all(word in table for word in ("best of 3", "draws", "chosen on the")), table
    each = [json.loads((tmp_path / f"{n}/summary.json").read_text())["metrics"]["accuracy_votes_2"] for n in range(3)]
    found = json.loads((tmp_path / "best/summary.json").read_text())["metrics"]
    assert found["accuracy_votes_2"] == each[0] and found["accuracy_votes_2_best_of_3"] == max(each)
    assert call("evaluate", "--run", run, "best_of=3") == 2
    assert "set votes as well" in capsys.readouterr().err


def test_a_moved_checkpoint_is_said_where(run, base, tmp_path, capsys):
    moved = base.rename(tmp_path / "moved.safetensors")
    try:
        assert call("evaluate", "--run", run) == 2
        assert "--checkpoint FILE" in capsys.readouterr().err
        assert call("evaluate", "--run", run, "--checkpoint", moved) == 0
        assert call("predict", "--help") == 0
    finally:
        moved.rename(base)


def test_a_run_is_used_from_another_folder(base, tmp_path, monkeypatch):
    monkeypatch.chdir(base.parent)
    assert train(tmp_path / "run", f"checkpoint={base.name}", "train.epochs=1") == 0
    monkeypatch.chdir(tmp_path)
    assert call("evaluate", "--run", "run") == 0


def test_other_base_weights_are_refused(run, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    arguments = ["--config", TINY / "pretrain.yaml", "seed=1", "train.epochs=1", "--output", tmp_path / "other"]
    assert call("pretrain", *arguments, "--export", other) == 0
    scan = tmp_path / "scan.npy"
    np.save(scan, np.random.default_rng(0).random((70, 3)))
    capsys.readouterr()
    for arguments in (["evaluate"], ["predict", scan]):
        assert call(*arguments, "--run", run, "--checkpoint", other) == 2
        assert "base" in capsys.readouterr().err


def test_data_of_other_classes_are_refused(run, tmp_path, capsys):
    for split in ("train", "test"):
        (tmp_path / split / "chair").mkdir(parents=True)
        np.save(tmp_path / split / "chair" / "a.npy", np.eye(3))
    assert call("evaluate", "--run", run, "data=folder", f"data.root={tmp_path}") == 2
    assert "same class names" in capsys.readouterr().err


def test_seeds_each_run_once(tmp_path, capsys):
    folder = tmp_path / "several"
    assert train(folder, "--seeds", "0", "1", "train.epochs=2") == 0
    assert "mean ± sample std of seeds 0, 1" in " ".join(capsys.readouterr().out.split())
    first = (folder / "seed_0" / "checkpoint" / "last.safetensors").stat().st_mtime_ns
    (folder / "summary.json").unlink()
    (folder / "seed_1" / "summary.json").unlink()  # as if it had been killed at its end
    assert call("train_cls", "--resume", folder, "--seeds", "2") == 0
    assert (folder / "seed_0" / "checkpoint" / "last.safetensors").stat().st_mtime_ns == first
    runs = [json.loads((folder / f"seed_{seed}" / "summary.json").read_text()) for seed in range(3)]
    values = [run["metrics"]["accuracy"] for run in runs]
    found = json.loads((folder / "summary.json").read_text())
    assert found["metrics"]["accuracy"]["values"] == values and found["protocol"]["seed"] == [0, 1, 2]
    assert found["metrics"]["accuracy"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert call("predict", TINY / "cls.yaml", "--run", folder) == 2
    assert "choose one of its seeds: seed_0, seed_1, seed_2" in capsys.readouterr().err


def test_a_plugin_brings_a_data_set(tmp_path, capsys):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from pcclora.data import ProceduralConfig, ProceduralDataset\n"
        "from pcclora.registry import DATASETS\n"
        "@dataclass\n"
        "class Mine(ProceduralConfig):\n"
        "    train: int = 32\n"
        "if 'mine' not in DATASETS.names():\n"
        "    DATASETS.register('mine', config=Mine)(ProceduralDataset)\n"
    )
    arguments = ["--config", TINY / "cls.yaml", "data={name: mine, test: 16, points: 128}", "train.epochs=1"]
    assert call("train_cls", *arguments, "--plugin", plugin, "--output", tmp_path / "run") == 0
    assert "mine (32 train / 16 test)" in capsys.readouterr().out


def test_an_answer_of_a_diverged_model_is_an_error_and_no_json(run, files, tmp_path, capsys):
    damaged = tmp_path / "run"
    shutil.copytree(run, damaged)
    weights = damaged / "adapter" / "adapter_model.safetensors"
    tensors, header = read_tensors(weights, remedy="")
    large = {name: tensor * 1e30 if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    write_tensors(weights, large, header)
    assert call("predict", files[0], "--run", damaged, "--json") == 2
    out, err = capsys.readouterr()
    assert not out and "1 of 1 answers" in err and files[0].name in err
