"""Released files evaluated as they are, and settings compared side by side."""

import json
import shutil

import pytest
import torch

from pcclora.config import load_config
from pcclora.registry import MODELS
from pcclora.tasks.settings import ClassificationRun
from tests.tools.test_tools import TINY, call


@pytest.fixture
def released(tmp_path):
    """A fine-tuned file of the tiny run's architecture, in the released container."""
    config = load_config(ClassificationRun, file=TINY / "cls.yaml")
    model = MODELS.build(config.model, task="cls", num_classes=16)
    state = {f"module.{key.replace('blocks.', 'blocks.blocks.')}": value for key, value in model.state_dict().items()}
    torch.save({"base_model": state}, tmp_path / "released.pth")
    return tmp_path / "released.pth"


def test_a_released_classifier_is_evaluated_as_it_is(released, tmp_path, capsys):
    arguments = ["evaluate", "--config", TINY / "cls.yaml", "--checkpoint", released]
    assert call(*arguments, "--output", tmp_path / "first") == 0
    assert "none, as released" in capsys.readouterr().out
    assert call(*arguments, "--output", tmp_path / "second") == 0
    first, second = ((tmp_path / name / "predictions.csv").read_text() for name in ("first", "second"))
    assert first == second and first.count("\n") == 1 + 19


def test_a_file_without_a_head_is_refused(released, tmp_path, capsys):
    state = torch.load(released)["base_model"]
    torch.save({k: v for k, v in state.items() if "cls_head" not in k}, tmp_path / "trunk.pth")
    assert call("evaluate", "--config", TINY / "cls.yaml", "--checkpoint", tmp_path / "trunk.pth") == 2
    assert "no classification head for the 16 classes of procedural" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--config", TINY / "cls.yaml"], ["--run", "a", "--config", "b"]])
def test_evaluate_needs_a_run_or_a_released_file(arguments, capsys):
    assert call("evaluate", *arguments) == 2
    assert "give --run DIR" in capsys.readouterr().err


@pytest.fixture
def comparison(tmp_path):
    file = tmp_path / "comparison.yaml"
    file.write_text(
        f"config: {TINY / 'cls.yaml'}\nseeds: [0, 1]\noptions: [train.epochs=1]\nchoose_on: test\n"
        "settings:\n  linear probe: [adapter=linear]\n  CLoRA, p=2: [adapter.bases=2]\n"
    )
    return file


def test_a_comparison_is_a_table_that_grows(comparison, tmp_path, capsys):
    output = tmp_path / "results"
    assert call("results", comparison, "--output", output, "--table") == 0
    assert capsys.readouterr().out.count("missing") == 2
    assert call("results", comparison, "--output", output, "--latex", tmp_path / "table.tex") == 0
    table = capsys.readouterr().out
    latex = (tmp_path / "table.tex").read_text()
    assert "% CLoRA, p=2: `adapter.bases=2`" in latex and "textbf" in latex and latex.count(" & ") == 3 * 8
    assert "missing" not in table and "accuracy to choose on" in table and "`adapter.bases=2`" in table
    summary = json.loads((output / "linear_probe" / "summary.json").read_text())["metrics"]["accuracy"]
    assert f"| {100 * summary['mean']:.1f} ± {100 * summary['std']:.1f} |" in table

    shutil.rmtree(output / "linear_probe")
    kept = (output / "clora_p_2" / "summary.json").stat().st_mtime_ns
    assert call("results", comparison, "--output", output, "--table") == 0
    assert capsys.readouterr().out.count("missing") == 1
    assert call("results", comparison, "--output", output) == 0
    assert capsys.readouterr().out == table.replace(*_seconds(table, output))
    assert (output / "clora_p_2" / "summary.json").stat().st_mtime_ns == kept, "a finished setting is not trained again"


def _seconds(table, output):
    """Seconds are measured, so the retrained row may have others."""
    summary = json.loads((output / "linear_probe" / "summary.json").read_text())
    row = next(line for line in table.splitlines() if line.startswith("| linear probe"))
    cells = row.split(" | ")
    cells[-3] = f"{summary['seconds_per_epoch']['mean']:.1f}"
    return row, " | ".join(cells)


def test_a_wrong_setting_shows_before_anything_trains(comparison, tmp_path, capsys):
    comparison.write_text(comparison.read_text() + "  broken: [adapter.basis=2]\n")
    assert call("results", comparison, "--output", tmp_path / "results") == 2
    assert "did you mean 'bases'" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
