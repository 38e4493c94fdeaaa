"""``pcclora train-image`` and what follows it, as a user calls them."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.data.image_trees import vtab_task
from tests.tools.test_tools import TINY, call

pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
SHORT = ["train.epochs=1", "train.warmup_epochs=0"]


def train(output, *arguments):
    return call("train_image", "--config", TINY / "image.yaml", "--output", output, *arguments)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(folder) == 0
    return folder


@pytest.fixture
def tree(tmp_path):
    for task, classes in (("kitti", 4), ("patch_camelyon", 2)):
        vtab_task(tmp_path / "data", task, classes=classes)
    return tmp_path / "data"


def test_a_dry_run_resolves_everything_and_touches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("train_image", "--dry-run", "adapter=lora", "model=timm/vit_tiny_patch16_224", "checkpoint=none") == 0
    printed = capsys.readouterr().out
    assert "name: timm/vit_tiny_patch16_224" in printed and "task: image" in printed
    assert not any(tmp_path.iterdir())


def test_the_table_fits_a_terminal_and_says_the_protocol(run, capsys):
    assert call("train_image", "--resume", run) == 0
    table = capsys.readouterr().out
    flat = " ".join(table.split())
    assert "16 x 16 pixels by bicubic, mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5] (model), weights of the last" in flat
    assert "python tools/predict.py PHOTO..." in flat and "votes" not in flat
    assert max(len(line) for line in table.splitlines() if "folder:" not in line and "next:" not in line) <= 80


def test_the_pictures_are_drawn(run):
    for name in ("curves.png", "confusion.png", "gallery.png"):
        assert (run / name).stat().st_size > 5000, name


def test_a_photograph_is_predicted_in_any_form(run, tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    grey = Image.fromarray(pixels)
    files = [tmp_path / name for name in ("a.png", "a.bmp", "a.tif")]
    grey.save(files[0])
    grey.convert("RGB").save(files[1])
    grey.convert("RGBA").save(files[2])
    assert call("predict", *files, "--run", run, "--json") == 0
    found = {name: own["classes"] for name, own in json.loads(capsys.readouterr().out).items()}
    classes = json.loads((run / "summary.json").read_text())["classes"]
    assert list(found) == [str(file) for file in files]
    assert all(set(own) == set(classes) and sum(own.values()) == pytest.approx(1, abs=1e-4) for own in found.values())
    assert len({tuple(own.items()) for own in found.values()}) == 1, "one image, three forms"


def test_a_bad_photograph_is_named(run, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    for name in ("bad.jpg", "absent.jpg"):
        assert call("predict", tmp_path / name, "--run", run) == 2
        assert name in capsys.readouterr().err
    assert call("predict", tmp_path / "bad.jpg", "--run", run, "--category", "cat") == 2
    assert "--category" in capsys.readouterr().err


def test_evaluation_repeats_the_run(run, tmp_path, capsys):
    assert call("evaluate", "--run", run, "--output", tmp_path / "again") == 0
    first, again = (json.loads((path / "summary.json").read_text()) for path in (run, tmp_path / "again"))
    assert again["metrics"] == first["metrics"] and again["protocol"] == first["protocol"]
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    assert (tmp_path / "again" / "confusion.png").is_file()
    assert call("evaluate", "--run", run, "normalization=imagenet") == 0
    assert "mean [0.485" in capsys.readouterr().out


def test_settings_side_by_side(tmp_path, capsys):
    file = tmp_path / "comparison.yaml"
    file.write_text(
        f"config: {TINY / 'image.yaml'}\nseeds: [0, 1]\noptions: [train.epochs=1, train.warmup_epochs=0]\n"
        "settings:\n  linear probe: [adapter=linear]\n  CLoRA: [adapter=clora]\n"
    )
    assert call("results", file, "--output", tmp_path / "results") == 0
    table = capsys.readouterr().out
    assert "| linear probe |" in table and "±" in table and table.endswith("\nBase weights: vit_mini: none.\n")


def test_a_suite_in_one_command_and_again(tree, tmp_path, capsys):
    (tmp_path / "grid.yaml").write_text("train.lr: [0.001, 0.01]\n")
    out, data = tmp_path / "out", ["data=vtab1k", f"data.root={tree}", "train.batch_size=4", *SHORT]
    assert train(out, *data, "--tasks", "kitti", "patch_camelyon", "--grid", tmp_path / "grid.yaml") == 0
    printed = capsys.readouterr().out
    assert (out / "table.md").read_text() in printed
    assert "| kitti | Structured | 6 |" in printed and "| patch_camelyon | Specialized | 6 |" in printed
    assert "4 validation images, trained on 8 others, from 2 points" in printed
    summary = json.loads((out / "summary.json").read_text())
    for task, folder in summary["runs"].items():
        assert (out / folder / "confusion.png").is_file(), task
    times = {file: file.stat().st_mtime_ns for file in out.rglob("last.safetensors")}
    assert call("train_image", "--resume", out) == 0
    assert times == {file: file.stat().st_mtime_ns for file in out.rglob("last.safetensors")}
    assert call("train_image", "--resume", out, "train.epochs=7") == 2
    assert "leave out train.epochs=7" in capsys.readouterr().err


def test_one_data_set_is_searched_and_its_table_says_so(tmp_path, capsys):
    (tmp_path / "grid.yaml").write_text("train.lr: [0.001, 0.01]\n")
    assert train(tmp_path / "out", *SHORT, "--grid", tmp_path / "grid.yaml") == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "validation images, trained on" in flat and "from 2 points" in flat
    assert (tmp_path / "out" / "search.json").is_file() and len(list((tmp_path / "out" / "tuning").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model=timm/vit_tinny_patch16_224"], ["vit_tinny_patch16_224", "did you mean", "vit_tiny_patch16_224"]),
        (["data=vtab1k", "data.root=DATA", "data.task=kiti"], ["kiti", "kitti"]),
        (["data=procedural"], ["procedural", "use python tools/train_cls.py"]),
        (["--tasks", "all"], ["'digits' is one task"]),
        (["--grid", "absent.yaml"], ["absent.yaml: no such file"]),
        (["normalization=cifar"], ["normalization"]),
        (["augmentation=mn40_st"], ["unknown augmentation of images 'mn40_st'"]),
        (["checkpoint=pretrained"], ["vit_mini", "hub"]),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(tree, tmp_path, capsys, arguments, words):
    arguments = [word.replace("DATA", str(tree)) for word in arguments]
    assert train(tmp_path / "run", *arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "Traceback" not in message
    assert all(word in message for word in words), message
    assert not (tmp_path / "run").exists()
