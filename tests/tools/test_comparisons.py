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
    assert "% CLoRA, p=2: `adapter.bases=2`" in latex and "textbf" in latex and latex.count(" & ") == 3 * 10
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


def test_a_comparison_has_the_mean_corruption_accuracy(comparison, tmp_path, capsys):
    output = tmp_path / "results"
    words = comparison.read_text().replace("choose_on: test\n", "corruptions: [shear, upp]\nseverities: [5]\n")
    comparison.write_text(words.replace("seeds: [0, 1]", "seeds: [0]"))
    assert call("results", comparison, "--output", output) == 0
    table = capsys.readouterr().out
    held = json.loads((output / "linear_probe" / "seed_0" / "corruptions" / "summary.json").read_text())["corruptions"]
    heading, _, first, *_ = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    place = heading.index("mean corruption acc.")
    assert first[place] == f"{100 * held['mean']:.1f}" and set(held["accuracy"]) == {"shear", "upp"}
    assert call("results", comparison, "--output", output) == 0, "nothing is tested again"
    assert capsys.readouterr().out == table
    comparison.write_text(words.replace("upp", "up"))
    assert call("results", comparison, "--output", tmp_path / "other") == 2
    assert "unknown corruption 'up'; did you mean 'upp'?" in capsys.readouterr().err


def _seconds(table, output):
    """Seconds and memory are measured, so the retrained row may have others."""
    summary = json.loads((output / "linear_probe" / "summary.json").read_text())
    row = next(line for line in table.splitlines() if line.startswith("| linear probe"))
    cells = row.split(" | ")
    cells[-4] = f"{summary['seconds_per_epoch']['mean']:.1f}"
    cells[-3] = f"{summary['peak_memory_mb']['mean']:.0f}"
    return row, " | ".join(cells)


def test_a_wrong_setting_shows_before_anything_trains(comparison, tmp_path, capsys):
    comparison.write_text(comparison.read_text() + "  broken: [adapter.basis=2]\n")
    assert call("results", comparison, "--output", tmp_path / "results") == 2
    assert "did you mean 'bases'" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.fixture
def tuned(tmp_path):
    file = tmp_path / "tuned.yaml"
    file.write_text(
        f"config: {TINY / 'cls.yaml'}\nseeds: [0, 1, 2]\noptions: [train.epochs=1]\nchoose_on: test\n"
        "grid: {train.lr: [0.001, 0.03, 1.0e+20]}\nagainst: [LoRA]\n"
        "settings:\n  linear probe: [adapter=linear]\n  LoRA: [adapter=lora, adapter.r=2]\n"
    )
    return file


def test_the_point_of_each_setting_is_chosen_on_validation_data(tuned, tmp_path, capsys):
    output = tmp_path / "results"
    assert call("results", tuned, "--output", output, "--jobs", 2) == 0
    table = capsys.readouterr().out
    choice = json.loads((output / "lora" / "choice.json").read_text())
    assert choice["means"]["train.lr=1.0e+20"] is None, "a point that diverges is none"
    best = max((mean, point) for point, mean in choice["means"].items() if mean is not None)[1]
    assert choice["point"] == [best] or choice["means"][choice["point"][0]] == choice["means"][best]
    point = output / "lora" / "points" / choice["point"][0]
    values = [
        json.loads((point / f"seed_{n}" / "test" / "summary.json").read_text())["metrics"]["accuracy"] for n in (0, 1)
    ]
    assert choice["means"][choice["point"][0]] == pytest.approx(sum(values) / 2)
    assert sorted(p.name for p in point.glob("seed_?")) == ["seed_0", "seed_1", "seed_2"], "the same runs go on"
    other = next(p for p in (output / "lora" / "points").iterdir() if p.name not in (point.name, "train.lr=1.0e+20"))
    assert not (other / "seed_2").exists(), "what is not chosen is not trained on"
    assert f"`adapter=lora adapter.r=2 {choice['point'][0]}`" in table and "less LoRA" in table
    assert call("results", tuned, "--output", output) == 0, "nothing is trained again"
    assert capsys.readouterr().out == table


def test_runs_that_choose_may_see_less_data(tuned, tmp_path, capsys):
    text = tuned.read_text().replace("choose_on: test\n", "tuning: [data.train=40]\n").replace(", 1.0e+20", "")
    tuned.write_text(text)
    output = tmp_path / "results"
    assert call("results", tuned, "--output", output) == 0
    assert "with data.train=40" in capsys.readouterr().out
    assert (output / "lora" / "final" / "summary.json").is_file()
    held = (output / "lora" / "final" / "config.yaml").read_text()
    assert (
        "train: 48" in held
        and json.loads((output / "lora" / "choice.json").read_text())["point"][0].split("=")[1] in held
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("choose_on: test\n", ""), "say by choose_on or by tuning"),
        (("against: [LoRA]", "against: [Lora]"), "did you mean 'LoRA'"),
        (("seeds: [0, 1, 2]", "seeds: [0]"), "tuning_seeds is 2"),
        (("train.lr: [", "seed: ["), "a grid cannot vary 'seed'"),
    ],
)
def test_a_choice_on_nothing_is_refused(change, message, tuned, tmp_path, capsys):
    tuned.write_text(tuned.read_text().replace(*change))
    assert call("results", tuned, "--output", tmp_path / "results") == 2
    assert message in capsys.readouterr().err
