"""Whole runs on a tiny scale: what is trained, resumed, selected, and that the number of workers does not matter."""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pcclora.config import load_config
from pcclora.engine import checkpoint as checkpoints
from pcclora.engine.evaluator import Watched
from pcclora.engine.loop import DivergenceError, _LossWatch
from pcclora.engine.run_folder import read_rows
from pcclora.errors import PccloraError
from pcclora.models import create_model
from pcclora.runs.adapt import train
from pcclora.runs.build import build_model
from pcclora.runs.pretrain import export, pretrain
from pcclora.runs.report import protocol_of
from pcclora.tasks.base import Labels
from pcclora.tasks.registry import TASKS, load_run_config
from pcclora.tasks.settings import PretrainRun
from tests.interrupted import interrupted

TINY = Path(__file__).parents[1] / "tiny"
EXACT = ("metrics.csv", "checkpoint/last.safetensors", "predictions.csv")
NAMES = ["cls", "partseg"]
SCORE = {"cls": "accuracy", "partseg": "instance_miou", "image": "accuracy"}


def tiny(task, *overrides):
    return load_run_config(TINY / f"{task}.yaml", overrides)


def cls(*overrides):
    return tiny("cls", *overrides)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return train(cls(), tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return train(tiny("partseg"), tmp_path_factory.mktemp("runs") / "parts")


def assert_equal(one, other):
    for name in (*EXACT, *(["predicted_parts.safetensors"] if one.predicted_parts.exists() else [])):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name
    # the header of this file is a table in no fixed order, so its bytes may differ
    first, second = (load_file(run.adapter / "adapter_model.safetensors") for run in (one, other))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_folder_holds_everything(plain):
    names = {p.name for p in plain.path.iterdir()}
    files = {"config.yaml", "versions.json", "data.json", "metrics.csv", "timing.csv", "predictions.csv"}
    assert names == files | {
        "orientation.json",
        "likeness.safetensors",
        "summary.json",
        "checkpoint",
        "adapter",
        "tensorboard",
    }
    assert load_run_config(plain.config) == cls()
    summary = plain.read_summary()
    assert set(summary["metrics"]) == {"accuracy", "mean_class_accuracy"}
    assert summary["adapter_bytes"] > 1000 and min(summary["gmacs"].values()) > 0
    assert 0 < summary["parameters"]["trained"] < summary["parameters"]["total"]
    rows = read_rows(plain.metrics)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert ["test_loss" in row for row in rows] == [False, True, True]
    assert all("seconds" not in key and "memory" not in key for key in rows[-1])
    assert rows[-1]["test_accuracy"] == pytest.approx(summary["metrics"]["accuracy"], rel=1e-8)


def test_the_folder_of_a_segmentation_holds_the_parts_as_well(parts):
    names = {p.name for p in parts.path.iterdir()}
    assert {"predicted_parts.safetensors", "predictions.csv", "summary.json"} <= names
    summary, rows = parts.read_summary(), read_rows(parts.metrics)
    assert summary["task"] == "part segmentation" and len(summary["parts"]["names"]) == 50
    assert set(summary["metrics"]) == set(summary["constant"]) == {"instance_miou", "class_miou", "accuracy"}
    assert sum(held["shapes"] for held in summary["categories"].values()) == 19
    assert rows[-1]["test_instance_miou"] == pytest.approx(summary["metrics"]["instance_miou"], rel=1e-8)
    shapes = read_rows(parts.predictions)
    assert np.mean([row["miou"] for row in shapes]) == pytest.approx(summary["metrics"]["instance_miou"], abs=1e-6)
    held = load_file(parts.adapter / "adapter_model.safetensors")
    for part in ("label_conv.0.weight", "propagation_0.mlp_convs.0.weight", "convs3.weight", "bns1.running_mean"):
        assert any(name.endswith(part) for name in held), "the whole head is in the adapter's file"


def test_the_same_run_twice_is_the_same(plain, tmp_path):
    assert_equal(plain, train(cls(), tmp_path / "again"))


def test_workers_do_not_matter(plain, tmp_path):
    assert_equal(plain, train(cls("train.workers=2"), tmp_path / "workers"))


def test_another_seed_is_another_run(plain, tmp_path):
    other = train(cls("seed=1"), tmp_path / "other")
    assert other.metrics.read_bytes() != plain.metrics.read_bytes()


INTERRUPTED = [("cls", adapter, which) for adapter in ("clora", "lora", "full") for which in ("last", "validation")]
INTERRUPTED += [("cls", f"lora adapter.{variant}", "last") for variant in ("loraplus_lr_ratio=16", "init=pissa")]
INTERRUPTED += [("partseg", "clora", "validation"), ("partseg", "full", "last")]
INTERRUPTED += [("cls", "clora train.sampler=balanced train.class_weights=balanced", "last")]
INTERRUPTED += [("partseg", "clora train.sampler=balanced", "last")]
INTERRUPTED += [("cls", "clora train.patience=2 train.epochs=9", "validation")]
INTERRUPTED += [("image", "clora", "validation"), ("image", "full", "last")]


@pytest.mark.parametrize(("task", "adapter", "selection"), INTERRUPTED)
def test_an_interrupted_run_goes_on_exactly(tmp_path, task, adapter, selection):
    config = tiny(task, *f"adapter={adapter}".split(), f"selection={selection}", "validation_fraction=0.3")
    if adapter == "full":
        config.train.lr = 1e-3
    whole = train(config, tmp_path / "whole")
    interrupted(lambda: train(config, tmp_path / "cut"))
    torch.rand(5)  # the resuming process has drawn something else
    assert_equal(whole, train(config, tmp_path / "cut", resume=True))


def test_only_the_adapter_and_the_head_are_in_the_checkpoint(plain):
    held = checkpoints.load(plain.checkpoint)
    assert not any(name.startswith("blocks.0.attn.qkv") for name in held.weights)
    assert any(name.startswith("cls_head_finetune") for name in held.weights)
    assert {key.rpartition("/")[2] for key in held.optimizer} == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize("task", [*NAMES, "image"])
def test_validation_keeps_the_best_epoch(tmp_path, task):
    config = tiny(task, "selection=validation", "validation_fraction=0.3", "train.epochs=4", "train.lr=0.02")
    folder = train(config, tmp_path / "run")
    rows, summary = read_rows(folder.metrics), folder.read_summary()
    scores = [row[f"validation_{SCORE[task]}"] for row in rows]
    assert len(scores) == 4 and not any(f"test_{SCORE[task]}" in row for row in rows)
    assert summary["selected_epoch"] == scores.index(max(scores)) + 1
    saved = load_file(folder.adapter / "adapter_model.safetensors")
    best = checkpoints.load(folder.checkpoint).best
    assert all(torch.equal(saved[name], best[name]) for name in saved.keys() & best.keys())
    assert summary["protocol"]["selection"] == "best epoch on a validation part of the training set"


@pytest.mark.parametrize("cut", [None, 3])
def test_training_ends_where_its_patience_does(tmp_path, monkeypatch, cut):
    """Scores are given: the best is that of the second epoch. A run that was cut behind its end trains no more."""
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.4, 0.5])
    real = Watched.__call__
    monkeypatch.setattr(
        Watched, "__call__", lambda self, model: real(self, model) | {"validation_accuracy": next(scores)}
    )
    config = cls("selection=validation", "validation_fraction=0.3", "train.patience=2", "train.epochs=6")
    if cut:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("pcclora.runs.adapt.finish", interrupt)
            train(config, tmp_path / "run")
    folder = train(config, tmp_path / "run", resume=bool(cut))
    summary = folder.read_summary()
    assert [row["epoch"] for row in read_rows(folder.metrics)] == [1, 2, 3, 4]  # 0.3 again is no better
    assert (summary["selected_epoch"], summary["protocol"]["stopped_after"]) == (2, 4)
    assert "stopped after 4 of 6 epochs" in protocol_of(summary)
    assert checkpoints.load(folder.checkpoint).epoch == 4


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("selection", ["last", "best_on_test"])
def test_patience_wants_a_validation_score(selection):
    with pytest.raises(
        PccloraError, match=rf"train.patience is 3: .* selection={selection} has none; choose selection"
    ):
        cls("train.patience=3", f"selection={selection}")


@pytest.mark.parametrize("task", NAMES)
def test_a_choice_on_the_test_set_shows_in_every_number(tmp_path, task):
    folder = train(tiny(task, "selection=best_on_test", "votes=2", "train.epochs=2"), tmp_path / "run")
    names = {f"{name}_best_on_test{votes}" for name in TASKS[task].figures for votes in ("", "_votes_2")}
    assert set(folder.read_summary()["metrics"]) == names


def test_accumulated_batches_are_one_step(tmp_path):
    """Two batches of 8 give AdamW as many steps as one of 16."""
    halves = train(cls("train.accumulation=2"), tmp_path / "halves")
    steps = {v.item() for k, v in checkpoints.load(halves.checkpoint).optimizer.items() if k.endswith("/step")}
    assert steps == {9.0}  # 3 epochs of 48 / 8 / 2


def test_a_double_step_is_two_steps_a_batch(tmp_path, parts):
    doubled = train(tiny("partseg", "train.double_step=true"), tmp_path / "doubled")
    for folder, expected in ((parts, 18.0), (doubled, 36.0)):  # 3 epochs of 48 / 8
        state = checkpoints.load(folder.checkpoint)
        assert {v.item() for k, v in state.optimizer.items() if k.endswith("/step")} == {expected}


def test_data_without_parts_are_refused_before_a_folder_is_made(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "chair").mkdir(parents=True)
        np.save(tmp_path / split / "chair" / "a.npy", np.random.default_rng(0).random((100, 3)))
    config = tiny("partseg", f"data={{name: folder, root: {tmp_path}}}")
    with pytest.raises(PccloraError, match="has no part labels"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bf16_trains_float32_parameters(tmp_path):
    folder = train(cls("train.precision=bf16"), tmp_path / "run")
    weights = checkpoints.load(folder.checkpoint).weights
    assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float32}


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(tmp_path, monkeypatch):
    seen = []
    real = _LossWatch.see
    monkeypatch.setattr(_LossWatch, "see", lambda self, loss: seen.append(float(loss)) or real(self, loss))
    config = cls("train.lr=1e30", "train.clip=0", "train.warmup_epochs=0", "train.epochs=9")
    with pytest.raises(DivergenceError, match=r"the loss is .* in epoch 1; lower train.lr"):
        train(config, tmp_path / "run")
    assert [np.isfinite(loss) for loss in seen] == [True] * (len(seen) - 1) + [False] and len(seen) < 6
    assert not (tmp_path / "run" / "summary.json").exists()


class OnAnAccelerator:
    """A loss that must not be read where it is, only after its copy has arrived."""

    device = SimpleNamespace(type="cuda")

    def __init__(self, value, log):
        self.value, self.log = value, log

    def to(self, device, *, non_blocking):
        assert (device, non_blocking) == ("cpu", True)
        self.log.append(f"sent {self.value}")
        return torch.tensor(self.value)


def test_an_accelerator_is_not_waited_for_at_each_step(monkeypatch):
    log = []
    event = SimpleNamespace(record=lambda: log.append("recorded"), synchronize=lambda: log.append("arrived"))
    monkeypatch.setattr(torch, "Event", lambda device: event)
    watch = _LossWatch(3)
    watch.see(OnAnAccelerator(1.0, log))
    assert log == ["sent 1.0", "recorded"]  # nothing was waited for
    watch.see(OnAnAccelerator(float("nan"), log))
    assert log[2:] == ["sent nan", "recorded", "arrived"]  # the first, with the second on its way
    with pytest.raises(DivergenceError, match="the loss is nan in epoch 3"):
        watch.see(OnAnAccelerator(2.0, log))


def test_a_model_that_diverged_in_its_last_step_gets_no_accuracy(tmp_path):
    config = cls("train.epochs=1", "train.batch_size=48", "train.warmup_epochs=0", "train.lr=1e6")
    with pytest.raises(DivergenceError, match="19 of 19 answers"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_pretraining_that_diverges_says_so_of_its_loss_and_not_of_the_data(tmp_path):
    words = ("train.epochs=1", "train.warmup_epochs=0", "train.lr=1e6")
    with pytest.raises(DivergenceError, match=r"the loss is \w+ in epoch 1; lower train\.lr"):
        pretrain(load_config(PretrainRun, file=TINY / "pretrain.yaml", overrides=words), tmp_path / "run")


@pytest.mark.parametrize("rate", ["1e38", ".inf", ".nan", "-1"])
def test_a_rate_that_no_run_can_have(rate):
    with pytest.raises(PccloraError, match="lr is"):
        cls(f"train.lr={rate}")


@pytest.mark.parametrize("task", NAMES)
def test_a_batch_of_one_is_refused_where_batch_norm_would_stop_it(tmp_path, task):
    for options in (["train.batch_size=1"], ["data.train=1"]):
        with pytest.raises(PccloraError, match=r"a batch has one sample .* batch norm .* train.batch_size=2 or more"):
            train(tiny(task, *options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_take_a_batch_of_one(tmp_path):
    assert train(tiny("image", "train.batch_size=1", "train.epochs=1"), tmp_path / "run").finished


@pytest.mark.parametrize("word", ["null", "random", "~"])
def test_random_weights_are_called_none(word):
    with pytest.raises(PccloraError, match="write checkpoint=none for random weights"):
        cls(f"checkpoint={word}")


def test_weights_that_float16_cannot_hold_are_not_exported(tmp_path, monkeypatch):
    folder = pretrain(load_config(PretrainRun, file=TINY / "pretrain.yaml"), tmp_path / "pre")
    weights = load_file(folder.model)
    weights["mask_token"] = torch.full_like(weights["mask_token"], 1e6)
    save_file(weights, folder.model)
    with pytest.raises(PccloraError, match="'mask_token' has values that float16 cannot hold"):
        export(folder, tmp_path / "released.safetensors")
    assert not (tmp_path / "released.safetensors").exists()


def test_resuming_on_other_base_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(cls(), tmp_path / "run")
    with pytest.raises(PccloraError, match="other base weights"):
        train(cls("seed=1"), tmp_path / "run", resume=True)


def test_pretrained_weights_serve_a_classifier(tmp_path):
    config = load_config(PretrainRun, file=TINY / "pretrain.yaml")
    folder = pretrain(config, tmp_path / "pre")
    losses = [row["train_loss"] for row in read_rows(folder.metrics)]
    assert losses[-1] < losses[0]
    export(folder, tmp_path / "released.safetensors")
    full, half = load_file(folder.model), load_file(tmp_path / "released.safetensors")
    assert full.keys() == half.keys() and half["mask_token"].dtype == torch.float16
    for file, tolerance in ((folder.model, 0.0), (tmp_path / "released.safetensors", 1e-3)):
        model = build_model(cls(f"checkpoint={file}"), Labels(("a", "b")))
        key = "blocks.0.attn.qkv.weight"
        torch.testing.assert_close(model.state_dict()[key], full[f"MAE_encoder.{key}"], atol=tolerance, rtol=tolerance)


def test_a_run_of_a_papers_network_says_how_it_cuts_clouds_and_how_the_paper_did(tmp_path, caplog):
    save_file(create_model("point_mae").state_dict(), tmp_path / "base.safetensors")
    overrides = ["model.num_groups=0", f"checkpoint={tmp_path / 'base.safetensors'}", "points=96"]
    config = load_run_config(TINY / "cls.yaml", ["model={name: point_mae}", *overrides])
    with caplog.at_level(logging.INFO, "pcclora"):
        build_model(config, Labels(("a", "b")), tell=True)
    assert (
        "base.safetensors: 96 points, 64 groups of 32 points in use; published classification: 64 groups" in caplog.text
    )


def test_the_configuration_of_a_run_has_the_groups_in_use(tmp_path):
    config = cls("model.num_groups=0", "train.epochs=1")
    run = train(config, tmp_path / "run")
    used = load_run_config(run.config)
    assert used.model.num_groups == config.model.groups_of("cls") > 0
    assert replace(used, model=replace(used.model, num_groups=0)) == config
