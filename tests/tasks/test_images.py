"""The image task: what it says of its input, what it refuses, what it shares with the clouds' classifier."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pcclora import attach, create_model, save_adapter
from pcclora.adapters import FullConfig
from pcclora.data import DigitsConfig, DigitsDataset
from pcclora.engine.environment import make_accelerator
from pcclora.engine.run_folder import read_rows
from pcclora.errors import PccloraError
from pcclora.runs.adapt import train
from pcclora.runs.build import base_checkpoint
from pcclora.runs.evaluate import evaluate_run
from pcclora.runs.finish import measure
from pcclora.runs.reload import TrainedRun
from pcclora.tasks.registry import TASKS, load_run_config
from pcclora.tasks.settings import ImageRun, ImageTraining

pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
TINY = Path(__file__).parents[1] / "tiny" / "image.yaml"
IMAGE = TASKS["image"]


def tiny(*overrides):
    return load_run_config(TINY, overrides)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tiny(), tmp_path_factory.mktemp("runs") / "run")


def test_the_summary_says_what_the_model_saw(run):
    summary = run.read_summary()
    assert summary["task"] == "image classification" and summary["data"] == "digits"
    expected = {"augmentation": "none", "size": 16, "interpolation": "bicubic", "normalization": "model"}
    assert expected.items() <= summary["protocol"].items()
    assert summary["protocol"]["mean"] == summary["protocol"]["std"] == [0.5, 0.5, 0.5]
    assert not {"points", "votes"} & summary["protocol"].keys()
    assert set(summary["metrics"]) == set(IMAGE.figures) and min(summary["gmacs"].values()) > 0


def test_each_normalization_is_said_and_done():
    pixels = torch.from_numpy(DigitsDataset(DigitsConfig(), split="test")[0].pixels).permute(2, 0, 1) / 255
    means = {}
    for name, mean in (("half", 0.5), ("imagenet", 0.485)):
        config = tiny(f"normalization={name}", "model.img_size=8", "data={name: digits}")
        loader = IMAGE.test_loader(config, DigitsDataset(DigitsConfig(), split="test"))
        said = IMAGE.protocol(config)
        assert said["normalization"] == name and said["mean"][0] == mean
        found = next(iter(loader))["images"][0, 0]
        torch.testing.assert_close(found, (pixels[0] - said["mean"][0]) / said["std"][0])
        means[name] = found.mean()
    assert means["half"] != means["imagenet"]


def test_the_loss_is_cross_entropy():
    config = ImageRun(train=ImageTraining(label_smoothing=0.1))
    loss = IMAGE.loss(config, DigitsDataset(DigitsConfig(), split="train"))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    images, labels = torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 2, 1, 0])
    found = loss(model, {"images": images, "labels": labels})
    assert found["loss"] == F.cross_entropy(model(images), labels, label_smoothing=0.1)
    assert found["accuracy"] == (model(images).argmax(1) == labels).float().mean()


def test_the_test_of_the_last_epoch_is_the_test_of_the_run(run):
    rows, summary = read_rows(run.metrics), run.read_summary()
    assert rows[-1]["test_accuracy"] == pytest.approx(summary["metrics"]["accuracy"], rel=1e-8)
    again = evaluate_run(TrainedRun(run))
    assert again.summary["metrics"] == summary["metrics"]
    again.evaluation.write(run.path.parent, names=again.names, classes=summary["classes"])
    assert (run.path.parent / "predictions.csv").read_bytes() == run.predictions.read_bytes()


def test_a_run_tests_once(monkeypatch, tmp_path):
    calls = []
    real = type(IMAGE).evaluator

    def counted(self, *arguments, **options):
        evaluate = real(self, *arguments, **options)
        return lambda model: (calls.append(1), evaluate(model))[1]

    monkeypatch.setattr(type(IMAGE), "evaluator", counted)
    train(tiny("train.eval_every=0"), tmp_path / "run")
    assert len(calls) == 1


def test_scikit_learn_agrees_with_the_figures(run):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    rows, metrics = read_rows(run.predictions), run.read_summary()["metrics"]
    labels, guesses = ([row[key] for row in rows] for key in ("label", "prediction"))
    assert metrics["accuracy"] == pytest.approx(accuracy_score(labels, guesses))
    assert metrics["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(labels, guesses))


def test_a_whole_model_that_was_trained_here_is_a_checkpoint(tmp_path):
    """Pre-train with ``adapter=full``, adapt from its folder's file; its name and hash are in the summary."""
    full = train(tiny("adapter=full", "train.lr=0.001", "train.epochs=1"), tmp_path / "full")
    file = full.adapter / "adapter_model.safetensors"
    adapted = train(tiny(f"checkpoint={file}", "data.classes=high"), tmp_path / "adapted")
    summary = adapted.read_summary()
    assert summary["checkpoint_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    first, second = (TrainedRun(folder).model.state_dict() for folder in (full, adapted))
    same = [key for key in first if "qkv" in key and key in second]
    assert same and all(torch.equal(first[key], second[key]) for key in same)


def test_weights_of_a_model_of_the_api_are_a_checkpoint(tmp_path):
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    model = create_model("vit_mini", num_classes=5, **sizes)
    attach(model, FullConfig())
    save_adapter(model, tmp_path / "full")
    config = tiny(f"checkpoint={tmp_path / 'full' / 'adapter_model.safetensors'}")
    assert base_checkpoint(config).is_file()
    train(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("file", "override", "words"),
    [
        ("image", "data={name: procedural, train: 16, test: 16}", ["procedural", "images", "use pcclora train-cls"]),
        ("image", "model={name: point_mae_tiny}", ["point_mae_tiny", "images"]),
        ("cls", "data={name: digits}", ["digits", "point clouds", "use pcclora train-image"]),
        ("cls", "model={name: vit_mini}", ["vit_mini", "point clouds", "use pcclora train-image"]),
        ("partseg", "data={name: digits}", ["digits", "point clouds", "use pcclora train-image"]),
    ],
)
def test_another_kind_of_data_or_model_is_refused(tmp_path, file, override, words):
    config = load_run_config(TINY.with_name(f"{file}.yaml"), [override])
    with pytest.raises(PccloraError) as refused:
        train(config, tmp_path / "run")
    assert all(word in str(refused.value) for word in words), refused.value
    assert not (tmp_path / "run").exists()


def test_there_are_no_votes_for_images(run):
    with pytest.raises(PccloraError, match="votes: unknown key"):
        tiny("votes=2")
    model = TrainedRun(run).model
    config = tiny()
    dataset = DigitsDataset(config.data, split="test")
    _, metrics = measure(config, dataset, model, make_accelerator(config.train))
    assert set(metrics) == set(IMAGE.figures) and np.isfinite(list(metrics.values())).all()
