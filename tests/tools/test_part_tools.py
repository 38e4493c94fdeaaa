"""Part segmentation as a user calls it: train, evaluate, compare, and label scans of his own."""

import json

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from pcclora.data import ProceduralConfig, ProceduralDataset, read_scan
from pcclora.engine.run_folder import read_rows
from pcclora.runs import load_run
from pcclora.tasks.registry import load_run_config
from tests.tools.test_tools import TINY, call


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert call("train_partseg", "--config", TINY / "partseg.yaml", "--output", folder) == 0
    return folder


@pytest.fixture
def scan(tmp_path):
    """A chair in map coordinates, with colours."""
    points = ProceduralDataset(ProceduralConfig(points=900), split="test")[4].points * 3.0 + [450_000, 5_000_000, 90]
    colors = np.random.default_rng(0).integers(2, 255, (len(points), 3))
    np.savetxt(tmp_path / "scan.txt", np.c_[points, colors], fmt="%.6f")
    return tmp_path / "scan.txt"


def test_a_run_ends_with_pictures_and_a_table(run, capsys):
    for picture in ("curves", "ious", "gallery"):
        assert (run / f"{picture}.png").stat().st_size > 5000
    assert call("train_partseg", "--resume", run) == 0
    table = capsys.readouterr().out
    words = ("instance mIoU", "class mIoU", "most frequent part", "mIoU by category", "chair", "trained parameters")
    assert all(word in table for word in words)
    assert max(len(line) for line in table.splitlines() if "folder:" not in line and "next:" not in line) <= 80


def test_a_dry_run_resolves_the_embedded_default(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("train_partseg", "--dry-run", "adapter=lora") == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert (found["task"], found["data"]["name"], found["adapter"]["name"]) == ("partseg", "procedural", "lora")
    assert not any(tmp_path.iterdir())


def test_a_configuration_of_another_task_is_refused(tmp_path, capsys):
    assert call("train_cls", "--config", TINY / "partseg.yaml", "--output", tmp_path / "run") == 2
    assert "task" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_evaluation_repeats_the_run(run, tmp_path, capsys):
    assert call("evaluate", "--run", run, "--output", tmp_path / "again") == 0
    assert "instance mIoU" in capsys.readouterr().out
    first, again = (json.loads((path / "summary.json").read_text()) for path in (run, tmp_path / "again"))
    for key in ("task", "metrics", "categories", "constant", "parts"):
        assert again[key] == first[key]
    for name in ("predictions.csv", "predicted_parts.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes()
    assert (tmp_path / "again" / "ious.png").is_file()


def test_evaluation_on_a_sample_and_with_votes(run, capsys):
    assert call("evaluate", "--run", run, "evaluate_on=sample") == 0
    assert call("evaluate", "--run", run, "votes=2") == 0
    assert "mean of 2 votes" in " ".join(capsys.readouterr().out.split())


def test_data_of_other_parts_are_refused(run, shared_data, capsys):
    relics = shared_data / "relics_partseg_hdf5"
    assert call("evaluate", "--run", run, "data=partseg_h5", f"data.root={relics}") == 2
    assert "same class names" in capsys.readouterr().err


def test_a_released_segmenter_is_evaluated_as_it_is(run, tmp_path, capsys):
    import torch

    from pcclora.registry import MODELS

    config = load_run_config(TINY / "partseg.yaml")
    model = MODELS.build(config.model, task="partseg", num_parts=50, num_categories=16)
    state = {key.replace("blocks.", "blocks.blocks."): value for key, value in model.state_dict().items()}
    held = {"epoch": 3, "inctance_avg_iou": np.float64(0.5), "model_state_dict": state}
    torch.save(held, tmp_path / "released.pth")
    arguments = ["--config", TINY / "partseg.yaml", "--checkpoint"]
    assert call("evaluate", *arguments, tmp_path / "released.pth") == 0
    assert "none, as released" in capsys.readouterr().out
    trunk = {key: v for key, v in state.items() if key.startswith(("encoder", "pos_embed", "blocks", "norm"))}
    torch.save({"base_model": trunk}, tmp_path / "trunk.pth")
    assert call("evaluate", *arguments, tmp_path / "trunk.pth") == 2
    assert "part segmentation head for the 50 parts" in capsys.readouterr().err


def test_every_point_of_a_scan_is_labelled_in_its_place(run, scan):
    (cloud,) = load_run(run).predict([scan], category="chair")
    given = read_scan(scan)
    assert np.array_equal(cloud.points, given.points) and np.array_equal(cloud.colors, given.colors)
    assert cloud.prediction.shape == (900,) and set(cloud.prediction) <= set(cloud.parts)
    np.testing.assert_allclose(cloud.probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(np.array(cloud.parts)[cloud.probabilities.argmax(axis=1)], cloud.prediction)


def test_a_scan_is_labelled_as_the_test_shape_that_it_is(run, tmp_path):
    """The same points in another file get the parts that the run's own test gave them."""
    shape = ProceduralDataset(ProceduralConfig(train=48, test=19, points=128), split="test")[0]
    np.save(tmp_path / "shape.npy", shape.points)
    held = load_file(run / "predicted_parts.safetensors")
    found = load_run(run).predict(tmp_path / "shape.npy", category=load_run(run).classes[shape.label])
    assert np.mean(found.prediction == held["parts"][:128]) > 0.99  # normalised anew: last bits differ


def test_a_scan_is_written_in_every_form(run, scan, tmp_path, capsys):
    outputs = {name: tmp_path / f"out.{name}" for name in ("png", "html", "ply")}
    options = [word for name, path in outputs.items() for word in (f"--{name}", path)]
    assert call("predict", scan, "--run", run, "--category", "chair", *options) == 0
    assert "chair, 900 points" in capsys.readouterr().out
    assert all(path.stat().st_size > 1000 for path in outputs.values())
    assert call("predict", scan, "--run", run, "--category", "chair", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    assert sum(part["points"] for part in found["parts"].values()) == 900


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "16 categories; say which by category (--category)"),
        (["--category", "chiar"], "unknown category 'chiar'; did you mean 'chair'?"),
        (["--category", "chair", "--ply", "out.ply", "another.txt"], "takes one cloud"),
    ],
)
def test_what_cannot_be_labelled_is_said(run, scan, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert call("predict", scan, "--run", run, *arguments) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["scan.txt"]


@pytest.mark.parametrize("name", ["empty.txt", "nan.npy"])
def test_a_bad_scan_is_named(run, tmp_path, capsys, name):
    (tmp_path / name).touch()
    if name == "nan.npy":
        np.save(tmp_path / name, np.full((5, 3), np.nan))
    target = tmp_path / "out.html"
    assert call("predict", tmp_path / name, "--run", run, "--category", "chair", "--html", target) == 2
    assert name in capsys.readouterr().err and not target.exists()


def test_parts_of_a_classification_run_are_refused(tmp_path, scan, capsys):
    arguments = ["--config", TINY / "cls.yaml", "train.epochs=1", "--output", tmp_path / "cls"]
    assert call("train_cls", *arguments) == 0
    capsys.readouterr()
    assert call("predict", scan, "--run", tmp_path / "cls", "--category", "chair") == 2
    assert "predicts classes" in capsys.readouterr().err


def test_seeds_and_settings_are_compared_on_both_mious(tmp_path, capsys):
    (tmp_path / "comparison.yaml").write_text(
        f"config: {TINY / 'partseg.yaml'}\nseeds: [0, 1]\noptions: [train.epochs=1]\nchoose_on: test\n"
        "settings:\n  linear probe: [adapter=linear]\n  CLoRA: [adapter=clora]\n"
    )
    assert call("results", tmp_path / "comparison.yaml", "--output", tmp_path / "results") == 0
    head, _, linear, *_, constant, _, weights = capsys.readouterr().out.splitlines()
    assert weights == "Base weights: point_mae_tiny: none."
    headings = [cell.strip() for cell in head.split("|")[1:6]]
    assert headings == ["setting", "instance mIoU to choose on", "instance mIoU", "class mIoU", "point accuracy"]
    summary = json.loads((tmp_path / "results" / "linear_probe" / "summary.json").read_text())
    iou = summary["metrics"]["class_miou"]
    assert f"| {100 * iou['mean']:.1f} ± {100 * iou['std']:.1f} |" in linear
    assert constant.startswith("| most frequent part |") and constant.count("|") == head.count("|")
    for name, held in summary["categories"].items():
        runs = [json.loads((tmp_path / f"results/linear_probe/seed_{s}/summary.json").read_text()) for s in (0, 1)]
        assert held["iou"]["values"] == [r["categories"][name]["iou"] for r in runs]


def test_predictions_hold_a_line_a_shape(run):
    rows = read_rows(run / "predictions.csv")
    assert [row["index"] for row in rows] == list(range(19)) and {row["points"] for row in rows} == {128}
