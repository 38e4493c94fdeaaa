"""The temperature of a run: from its validation part, kept, used wherever the run says how sure it is."""

import json
import shutil

import numpy as np
import pytest
import torch

from pcclora.errors import PccloraError
from pcclora.metrics import fit_temperature, reliability
from pcclora.registry import DATASETS
from pcclora.runs.calibration import calibrate
from pcclora.runs.evaluate import evaluate_run
from pcclora.runs.reload import TrainedRun
from pcclora.runs.report import run_table
from pcclora.runs.splits import open_side
from pcclora.tasks.registry import task_of
from pcclora.vis import draw_test
from tests.runs.conftest import trained
from tests.tools.test_tools import call

VALIDATED = ["selection=validation", "validation_fraction=0.4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("calibrated"), "cls", *VALIDATED)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "run")


def logits_of(run, dataset):
    found = task_of(run.config).evaluator(run.config, dataset, run._predictor.process)(run.model)
    return found.logits, found.labels


def test_it_is_fitted_to_the_validation_part(folder):
    run = TrainedRun.open(folder)
    held = run.summary["calibration"]
    validation = open_side(run.config, folder, "validation")
    assert held["temperature"] == pytest.approx(fit_temperature(*logits_of(run, validation)), rel=1e-6)
    assert (held["fitted_on"], held["split"]) == (len(validation), "validation") and held["temperature"] != 1
    logits, labels = logits_of(run, open_side(run.config, folder))
    for name, temperature in (("error", held["temperature"]), ("error_before", 1.0)):
        sure, guesses = (logits / temperature).softmax(1).max(dim=1)
        assert held[name] == pytest.approx(reliability(sure, guesses == labels).error, abs=1e-6)
    assert f"temperature {held['temperature']:.3g}, fitted to" in run_table(run.summary, folder).replace("\n", " ")


def test_predictions_evaluations_and_tables_are_of_it(folder, tmp_path):
    run = TrainedRun.open(folder)
    dataset = DATASETS.build(run.config.data, split="test")
    logits, _ = logits_of(run, dataset)
    expected = (logits / run.temperature.value).softmax(1)
    found = run.predict([dataset[n].points.astype(np.float64) for n in range(3)])
    for row, one in enumerate(found):
        assert one.confidence == pytest.approx(expected[row].max().item(), abs=1e-4)
    rows = run.folder.read_predictions()
    assert [row["confidence"] for row in rows] == pytest.approx(expected.amax(1).tolist(), abs=2e-6)
    again = evaluate_run(run)
    torch.testing.assert_close(again.evaluation.probabilities, expected)
    assert again.summary["calibration"] == run.summary["calibration"]
    packed = TrainedRun.open(run.pack(tmp_path / "run.pcclora", weights=True))
    assert packed.temperature == run.temperature


def test_a_run_without_validation_data_has_none(folders):
    run = TrainedRun.open(folders["cls"])
    assert run.temperature.value == 1 and run.summary["calibration"]["fitted_on"] == 0
    table = " ".join(run_table(run.summary, run.path).split())
    assert "(no temperature: the run has no validation data)" in table


def test_a_run_of_an_earlier_version_loads(copy):
    held = json.loads((copy / "summary.json").read_text())
    del held["calibration"]
    (copy / "summary.json").write_text(json.dumps(held))
    run = TrainedRun.open(copy)
    assert run.temperature.value == 1 and run.predict(np.random.default_rng(0).random((64, 3))).confidence > 0
    assert calibrate(run)["calibration"]["fitted_on"] == 16
    assert TrainedRun.open(copy).temperature.value != 1


def test_calibrating_again_gives_the_same(copy, capsys):
    before = {name: (copy / name).read_bytes() for name in ("summary.json", "predictions.csv")}
    assert call("evaluate", "--run", copy, "--calibrate") == 0
    assert "calibration error" in capsys.readouterr().out and (copy / "reliability.png").stat().st_size > 5000
    assert {name: (copy / name).read_bytes() for name in before} == before


def test_another_split_that_was_not_seen(folders, tmp_path):
    copied = shutil.copytree(folders["cls"], tmp_path / "run")
    summary = calibrate(TrainedRun.open(copied), split="val", draw=draw_test)
    assert summary["calibration"]["split"] == "val" and summary["calibration"]["temperature"] != 1
    assert TrainedRun.open(copied).folder.read_summary() == json.loads(json.dumps(summary))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "has no validation data to calibrate on; train it with selection=validation, or name a split"),
        (["--split", "test"], "is not calibrated on split 'test', by which it is trained or judged"),
        (["--split", "vall"], "no split 'vall'; there are"),
        (["--output", "out"], "--calibrate: changes the run itself, and is done alone; leave out --output"),
    ],
)
def test_what_it_cannot_be_fitted_to_is_refused(words, message, folders, capsys):
    before = (folders["cls"] / "summary.json").read_bytes()
    assert call("evaluate", "--run", folders["cls"], "--calibrate", *words) == 2
    assert message in capsys.readouterr().err and (folders["cls"] / "summary.json").read_bytes() == before


def test_parts_are_refused(folders):
    with pytest.raises(PccloraError, match="its task is 'partseg'"):
        calibrate(TrainedRun.open(folders["partseg"]))


def test_a_temperature_that_is_none_is_refused(copy):
    held = json.loads((copy / "summary.json").read_text())
    held["calibration"]["temperature"] = 0
    (copy / "summary.json").write_text(json.dumps(held))
    with pytest.raises(PccloraError, match="its temperature is 0"):
        TrainedRun.open(copy).predict(np.random.default_rng(0).random((64, 3)))
