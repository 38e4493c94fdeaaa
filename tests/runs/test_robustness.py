"""A run tested on corrupted clouds: by its own protocol, the same each time, with its mean on record."""

import csv
import json

import numpy as np
import pytest
import torch

from pcclora.data.corruptions.table import corrupt
from pcclora.errors import PccloraError
from pcclora.ops import sample_farthest_points
from pcclora.registry import DATASETS
from pcclora.runs.evaluate import evaluate_run, write_evaluation
from pcclora.runs.reload import TrainedRun
from pcclora.runs.report import evaluation_table
from pcclora.runs.robustness import Trial, corruption_lines
from pcclora.vis import draw_test
from tests.tools.test_tools import call


@pytest.fixture(scope="module")
def run(folders):
    return TrainedRun.open(folders["cls"])


def test_accuracy_is_that_of_predicting_the_corrupted_clouds(run):
    """By another way: each cloud corrupted by hand, and put to the model as it is."""
    held = evaluate_run(run, corruptions=Trial(["dropout_global"], [2, 5])).summary["corruptions"]
    dataset = DATASETS.build(run.config.data, split="test")
    for place, severity in enumerate(held["severities"]):
        right = 0
        for index in range(len(dataset)):
            stored = dataset[index].points
            _, chosen = sample_farthest_points(torch.from_numpy(stored)[None], K=run.config.points)
            seen = stored[chosen[0].numpy()]
            cloud = corrupt(seen, stored, name="dropout_global", severity=severity, index=index)
            with torch.no_grad():
                logits = run.model(torch.from_numpy(cloud)[None])
            right += int(logits.argmax()) == dataset.labels[index]
        assert held["accuracy"]["dropout_global"][place] == pytest.approx(right / len(dataset))


def test_the_means_are_those_of_the_accuracies(run):
    held = evaluate_run(run, corruptions=Trial(severities=[1, 5])).summary
    found = held["corruptions"]
    assert found["set"] == "modelnet40-c" and len(found["accuracy"]) == 15 and found["severities"] == [1, 5]
    assert found["mean"] == pytest.approx(np.mean(list(found["accuracy"].values())))
    assert found["clean"] == held["metrics"]["accuracy"]
    assert found["relative"] == pytest.approx(found["mean"] / found["clean"])
    assert evaluate_run(run, corruptions=Trial(severities=[1, 5])).summary["corruptions"] == found, "the same again"


def test_what_is_written_and_shown(run, tmp_path):
    result = evaluate_run(run, corruptions=Trial(["shear", "uniform"]))
    write_evaluation(result, tmp_path / "out", draw=draw_test)
    with (tmp_path / "out" / "corruptions.csv").open() as file:
        rows = list(csv.DictReader(file))
    held = json.loads((tmp_path / "out" / "summary.json").read_text())["corruptions"]
    assert [row["corruption"] for row in rows] == ["uniform"] * 5 + ["shear"] * 5
    assert [float(row["accuracy"]) for row in rows[5:]] == pytest.approx(held["accuracy"]["shear"], abs=1e-6)
    assert (tmp_path / "out" / "corruptions.png").stat().st_size > 5000
    table = evaluation_table(result.summary, run.path, output=tmp_path / "out")
    assert max(map(len, table.splitlines()[:-2])) <= 80
    for line in corruption_lines(held):
        assert line in table


def test_one_command_does_it(run, tmp_path, capsys):
    assert call("evaluate", "--run", run.path, "--corruptions", "occlusion", "--severity", "3", "votes=0") == 0
    out = capsys.readouterr().out
    assert "mean of 1 (chosen)" in out and "under corruption" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--corruptions", "gausian"], "unknown corruption 'gausian'; did you mean 'gaussian'?"),
        (["--corruptions", "--severity", "6"], "severity 6: choose from 1, 2, 3, 4 and 5"),
        (["--corruptions", "--severity", "low"], "--severity low: a whole number is expected"),
        (["--severity", "3"], "say --corruptions as well"),
    ],
)
def test_what_does_not_exist_is_refused(words, message, run, tmp_path, capsys):
    assert call("evaluate", "--run", run.path, *words, "--output", tmp_path / "out") == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_parts_are_refused(folders):
    with pytest.raises(PccloraError, match="of clouds that have one class; this run's task is 'partseg'"):
        evaluate_run(TrainedRun.open(folders["partseg"]), corruptions=Trial())


def test_too_few_points_for_the_model_name_the_corruption(run):
    """Of 16 points four are left, and a group has eight."""
    with pytest.raises(PccloraError, match="^dropout_global 5: "):
        evaluate_run(run, overrides=["points=16"], corruptions=Trial(["dropout_global"], [5]))
