"""A run's folder: created once, its tables cut to the checkpoint, its environment compared."""

import errno
import json
import logging
import os

import pytest

from pcclora.engine.data_record import DataRecord
from pcclora.engine.environment import compare_environment, describe_environment, make_accelerator
from pcclora.engine.run_folder import RunFolder, append_row, default_output, read_rows
from pcclora.engine.settings import Training
from pcclora.errors import PccloraError
from tests.runs.summaries import summary

RECORD = DataRecord(("a",), None, {"train": (), "test": ()})


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", config="seed: 0\n", versions={"torch": "0"}, record=RECORD)


def test_rows_after_the_checkpoint_are_cut(folder):
    for epoch in range(1, 6):
        append_row(folder.metrics, {"epoch": epoch, "train_loss": 1 / epoch, "test_loss": None})
        append_row(folder.timing, {"epoch": epoch, "train_seconds": 1.0, "peak_memory_mb": 2.0})
    whole = folder.metrics.read_text()
    with folder.metrics.open("a") as file:
        file.write("6,0.1")  # killed while writing
    folder.cut(3)
    assert folder.metrics.read_text() == "".join(whole.splitlines(keepends=True)[:4])
    assert read_rows(folder.metrics)[-1] == {"epoch": 3.0, "train_loss": pytest.approx(1 / 3, rel=1e-8)}


@pytest.mark.parametrize("text", ["epoch,trai", "epoch,train_loss\n1,0.5\n", "\0\xff"])
def test_what_was_written_before_the_first_checkpoint_is_dropped(folder, text):
    folder.metrics.write_text(text)
    folder.cut(0)
    assert not folder.metrics.exists()


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b"epoch,train_seconds,peak_memory_mb\n",
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n",
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n2,1,1",
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n3,1,1\n",
        b"epoch,train_seconds,peak_memory_mb\n2,1,1\n1,1,1\n",
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n2,1\n",
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n2,1,1,1\n",
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n2,one,1\n",
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n,1,1\n",
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n1.5,1,1\n",
        b"1,1,1\n2,1,1\n",
        b"junk\nmore junk\nand more\n",
        b"\x00\x01\x02\n\x00\n\x00\n",
        b"\xff\xfe\xff\n" * 3,
        b"epoch,train_seconds,peak_memory_mb\n1,1,1\n2,1," + b"1" * 300_000 + b"\n",
    ],
)
@pytest.mark.parametrize("name", ["metrics", "timing"])
def test_a_table_without_an_epoch_that_is_done_is_refused(folder, name, text):
    for path in (folder.metrics, folder.timing):
        for epoch in (1, 2, 3):
            append_row(path, {"epoch": epoch, "train_seconds": 1.0, "peak_memory_mb": 2.0})
    folder.cut(2)
    path = getattr(folder, name)
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)
    with pytest.raises(
        PccloraError, match=rf"{name}\.csv: .*copy it again; the checkpoint says that 2 epochs are done"
    ):
        folder.cut(2)


@pytest.mark.parametrize("column", ["train_seconds", "peak_memory_mb"])
def test_a_time_that_is_missing_is_refused(folder, column):
    append_row(folder.metrics, {"epoch": 1})
    append_row(folder.timing, {"epoch": 1, "train_seconds": 1.0, "peak_memory_mb": 2.0} | {column: None})
    with pytest.raises(PccloraError, match=rf"timing\.csv: damaged: row 1 has no {column}"):
        folder.cut(1)


def test_a_row_that_cannot_be_written_is_one_message(folder, monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(PccloraError, match=r"metrics\.csv: cannot be written: No space left on device; make room"):
        append_row(folder.metrics, {"epoch": 1})


DAMAGED = [
    ({"classes": None}, "there is no classes"),
    ({"classes": 3}, "classes is 3, a list is needed"),
    ({"classes": "ball"}, "classes is 'ball', a list is needed"),
    ({"classes": [["ball"], ["box"]]}, r"classes\[0\] is a list, a text is needed"),
    ({"classes": ["ball", "ball"]}, "classes are 2 names, 1 of them different"),
    ({"classes": []}, "classes are 0 names"),
    ({"classes": [f"class {i}" for i in range(10**6)]}, "classes are 1,000,000 names"),
    ({"protocol": None}, "there is no protocol"),
    ({"protocol": ["none", 64]}, "protocol is a list, an object is needed"),
    ({"protocol": {"points": 64}}, "there is no protocol.augmentation"),
    ({"protocol": {"augmentation": "none", "size": 32}}, "there is no interpolation"),
    ({"task": None}, "there is no task"),
    ({"metrics": {"accuracy": "0.5"}}, "metrics.accuracy is '0.5', a finite number or an object"),
    ({"metrics": {"accuracy": {"mean": 0.5}}}, "there is no metrics.accuracy.std"),
    ({"metrics": 0.5}, "metrics is 0.5, an object is needed"),
    ({"adapter": "lora"}, "adapter is 'lora', an object is needed"),
    ({"adapter": {"r": 4}}, "there is no adapter.name"),
    ({"samples": {"train": 12}}, "there is no samples.test"),
    ({"samples": {"train": 12, "test": True}}, "samples.test is True, a whole number"),
    ({"parameters": [1, 2]}, "parameters is a list"),
    ({"train_seconds": 10**400}, "train_seconds is 1000.*, a finite number or an object"),
    ({"parts": {"names": ["a"], "of_class": [[0]]}}, "parts are given of 1 classes, there are 3"),
    ({"parts": {"names": "a", "of_class": [[0]]}}, "parts.names is 'a', a list"),
]


@pytest.mark.parametrize(("change", "message"), DAMAGED)
def test_a_damaged_summary_is_named_with_the_remedy(folder, change, message):
    folder.summary.write_text(json.dumps(summary()))
    assert folder.read_summary() == summary()
    folder.summary.write_text(json.dumps(summary(**change)))
    with pytest.raises(PccloraError, match=rf"summary\.json: .*{message}.*--resume .*run makes"):
        folder.read_summary()


@pytest.mark.parametrize(
    "versions",
    [
        "{}",
        "[]",
        "{",
        '{"base": null}',
        '{"base": []}',
        '{"base": {}}',
        '{"base": {"checkpoint": 3}}',
        '{"base": "none"}',
    ],
)
def test_damaged_versions_are_named(folder, versions):
    folder.versions.write_text(versions)
    with pytest.raises(PccloraError, match=r"versions\.json: "):
        folder.read_versions()


PREDICTIONS = "index,path,label,prediction,confidence\n0,a,0,0,0.5\n1,b,1,0,0.5\n2,c,2,2,1.0\n3,d,2,1,0.75\n"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "junk",
        "\0\1\2",
        b"\xff\xfe\xff",
        PREDICTIONS[:-1] + "," + "1" * 300_000,
        PREDICTIONS.replace("1,b,1,0,0.5\n", ""),
        PREDICTIONS.replace("3,d,2,1,0.75\n", ""),
        PREDICTIONS + "4,e,0,0,0.5\n",
        PREDICTIONS.replace("1,b,1,0", "1,b,3,0"),
        PREDICTIONS.replace("1,b,1,0", "1,b,1,-1"),
        PREDICTIONS.replace("1,b,1,0", "1,b,0.5,0"),
        PREDICTIONS.replace("1,b,1,0", "1,b,nan,0"),
        PREDICTIONS.replace("1,b,1,0", "1,b,,0"),
        PREDICTIONS.replace("1,b,1,0", "1,b,box,0"),
        PREDICTIONS.replace("1,b,1,0", '1,"b,1,0'),
        PREDICTIONS.replace("prediction", "prediktion"),
        PREDICTIONS.replace("1,b,1,0,0.5", "1,b,1,0,"),
    ],
)
def test_damaged_predictions_are_named_with_the_remedy(folder, text):
    folder.summary.write_text(json.dumps(summary()))
    folder.predictions.write_text(PREDICTIONS)
    assert [row["prediction"] for row in folder.read_predictions()] == [0, 0, 2, 1]
    if text is None:
        folder.predictions.unlink()
    else:
        folder.predictions.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(PccloraError, match=r"predictions\.csv: .*--resume .*run makes"):
        folder.read_predictions()


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


def test_other_folders_that_have_a_configuration_are_named(tmp_path):
    (tmp_path / "config.yaml").touch()
    with pytest.raises(PccloraError, match=r"not the folder of one run \(no versions\.json\)"):
        RunFolder.open(tmp_path)
    (tmp_path / "versions.json").touch()
    (tmp_path / "folds").mkdir()
    with pytest.raises(PccloraError, match="a few-shot comparison, which keeps no model"):
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
