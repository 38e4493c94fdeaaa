"""A run's folder: created once, its tables cut to the checkpoint, its environment compared."""

import logging

import pytest

from pcclora.engine.data_record import DataRecord
from pcclora.engine.environment import compare_environment, describe_environment, make_accelerator
from pcclora.engine.run_folder import RunFolder, append_row, default_output, read_rows
from pcclora.engine.settings import Training
from pcclora.errors import PccloraError

RECORD = DataRecord(("a",), None, {"train": (), "test": ()})


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", config="seed: 0\n", versions={"torch": "0"}, record=RECORD)


def test_rows_after_the_checkpoint_are_cut(folder):
    for epoch in range(1, 6):
        append_row(folder.metrics, {"epoch": epoch, "train_loss": 1 / epoch, "test_loss": None})
    whole = folder.metrics.read_text()
    with folder.metrics.open("a") as file:
        file.write("6,0.1")  # killed while writing
    folder.cut(3)
    assert folder.metrics.read_text() == "".join(whole.splitlines(keepends=True)[:4])
    assert read_rows(folder.metrics)[-1] == {"epoch": 3.0, "train_loss": pytest.approx(1 / 3, rel=1e-8)}
    folder.cut(0)
    assert folder.metrics.read_text() == "epoch,train_loss,test_loss\n"


def test_a_header_that_was_not_finished_is_dropped(folder):
    folder.metrics.write_text("epoch,trai")
    folder.cut(0)
    assert not folder.metrics.exists()


def test_a_second_run_is_refused_and_the_first_is_untouched(folder):
    with pytest.raises(PccloraError, match="never overwritten"):
        RunFolder.create(folder.path, config="seed: 1\n", versions={}, record=RECORD)
    assert folder.config.read_text() == "seed: 0\n"


def test_what_is_not_a_run_is_named(tmp_path):
    with pytest.raises(PccloraError, match="not a run folder"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.yaml").touch()
    (tmp_path / "seed_3").mkdir()
    with pytest.raises(PccloraError, match="choose one of its seeds: seed_3"):
        RunFolder.open(tmp_path)


def test_an_unfinished_run_says_how_to_go_on(folder):
    with pytest.raises(PccloraError, match="--resume"):
        folder.read_summary()


def test_default_output_is_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = default_output("cls", ["data", "model"])
    assert first.parts[:2] == ("runs", "cls") and first.name.startswith("data_model_")
    first.mkdir(parents=True)
    assert default_output("cls", ["data", "model"]) != first
    assert default_output("image", ["data", "timm/vit.tag"]).name.startswith("data_timm_vit.tag_")


def test_another_environment_is_reported(caplog):
    accelerator = make_accelerator(Training(device="cpu"))
    then = describe_environment(accelerator)
    with caplog.at_level(logging.WARNING, logger="pcclora"):
        compare_environment(then, accelerator)
        assert not caplog.records
        compare_environment(then | {"threads": 1000}, accelerator)
    assert f"threads 1000 -> {then['threads']}" in caplog.text


def test_another_number_of_processes_is_refused():
    accelerator = make_accelerator(Training(device="cpu"))
    with pytest.raises(PccloraError, match="begun on 2 processes, not 1"):
        compare_environment(describe_environment(accelerator) | {"processes": 2}, accelerator)
