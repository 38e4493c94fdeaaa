"""What is told the curves beside metrics.csv: it goes on where a run goes on, and ends no run that is elsewhere."""

import errno
import logging
import os
import threading
from pathlib import Path

import pytest

from pcclora.engine import trackers
from pcclora.engine.run_folder import read_rows
from pcclora.engine.trackers import FILE, Trackers
from pcclora.errors import PccloraError
from pcclora.runs.adapt import train
from pcclora.tasks.registry import load_run_config
from tests.interrupted import interrupted

TINY = Path(__file__).parents[1] / "tiny" / "cls.yaml"


def tiny(*overrides):
    return load_run_config(TINY, overrides)


def tell(names, folder, epochs, *, done=0):
    told = Trackers(names, folder, done=done)
    for epoch in epochs:
        told.log({"train/loss": 1 / epoch, "peak/memory_mb": 2.0}, epoch)
    told.close()


def test_tensorboard_reads_the_curves_and_forgets_what_is_trained_again(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell(["tensorboard"], tmp_path, [1, 2])
    tell(["tensorboard"], tmp_path, [2, 3], done=1)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["peak/memory_mb", "train/loss"]
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert found == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert not (tmp_path / FILE).exists()


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """MLflow with its files in a folder."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())


@pytest.mark.slow
def test_mlflow_is_told_one_run_though_it_was_interrupted(tmp_path, mlflow):
    interrupted(lambda: train(tiny("train.trackers=[mlflow]"), tmp_path / "run"))
    folder = train(tiny("train.trackers=[mlflow]"), tmp_path / "run", resume=True)
    (told,) = mlflow.search_runs([mlflow.get_experiment_by_name("pcclora").experiment_id])
    assert told.info.run_name == "run" and told.data.params["train.epochs"] == "3"
    losses = {m.step: m.value for m in mlflow.get_metric_history(told.info.run_id, "train/loss")}
    assert losses == {row["epoch"]: pytest.approx(row["train_loss"]) for row in read_rows(folder.metrics)}
    assert not (folder.path / "tensorboard").exists()


def test_a_tracker_that_is_lost_on_the_way_ends_nothing(tmp_path, monkeypatch, mlflow, caplog):
    def lose(*_args, **_kwargs):
        raise ConnectionError("no answer")

    monkeypatch.setattr("mlflow.log_metrics", lose)
    with caplog.at_level(logging.WARNING, "pcclora"):
        folder = train(tiny("train.trackers=[tensorboard,mlflow]"), tmp_path / "run")
    assert [m for m in caplog.messages if "mlflow" in m] == [
        "mlflow is told no more: no answer; the curves go on in metrics.csv"
    ]
    assert folder.finished and len(read_rows(folder.metrics)) == 3


def test_a_tracker_that_cannot_be_started_is_one_message(tmp_path, monkeypatch, mlflow):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(PccloraError, match=r"train.trackers: mlflow cannot be started: .*; set it up .* by --resume"):
        tell(["mlflow"], tmp_path, [])


@pytest.mark.slow
def test_wandb_goes_on_with_the_same_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    (tmp_path / "config.yaml").write_text("train: {epochs: 3}\n")
    tell(["wandb"], tmp_path, [1])
    first = (tmp_path / FILE).read_text()
    tell(["wandb"], tmp_path, [2, 3], done=1)
    assert (tmp_path / FILE).read_text() == first
    files = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert files and {file.stem.removeprefix("run-") for file in files} == {first.split('"')[3]}


def test_a_tracker_that_is_not_installed_is_named_and_no_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(PccloraError, match=r"train.trackers: wandb is not installed: pip install wandb"):
        train(tiny("train.trackers=[tensorboard,wandb]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(PccloraError, match=r"train.trackers: Invalid value 'comet', expected one of"):
        tiny("train.trackers=[comet]")


def test_a_full_disk_is_one_message_and_no_traceback(tmp_path, monkeypatch, capfd):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pcclora.engine.trackers.threading.excepthook", threading.__excepthook__)  # not pytest's
    trackers._leave_to_the_next_write.cache_clear()
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", refuse)
    with pytest.raises(PccloraError, match=r"tensorboard: cannot be written: No space left on device; make room there"):
        tell(["tensorboard"], tmp_path, [1, 2])
    assert "Traceback" not in capfd.readouterr().err


def test_ids_that_are_none_are_named(tmp_path):
    (tmp_path / FILE).write_text('{"mlflow": 3}')
    with pytest.raises(PccloraError, match=rf"{FILE}: .*delete it, and the trackers begin another experiment"):
        Trackers(["mlflow"], tmp_path, done=0)
