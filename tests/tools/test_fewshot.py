"""The few-shot tools as a user calls them."""

import json
import pickle
import shutil

import pytest
import yaml

from tests.tools.test_tools import TINY, call

SMALL = TINY / "fewshot.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert call("fewshot", "--config", SMALL, "--output", folder, "--jobs", "1") == 0
    return folder


def test_the_folder_holds_everything(run, capsys):
    names = {
        "config.yaml",
        "versions.json",
        "data.json",
        "folds",
        "folds.csv",
        "pairs.csv",
        "table.md",
        "summary.json",
        "folds.png",
    }
    assert {path.name for path in run.iterdir()} == names
    assert len(list(run.glob("folds/3way_4shot/*/*.json"))) == 6
    assert (run / "folds.png").stat().st_size > 5000
    before = {p: p.stat().st_mtime_ns for p in run.glob("folds/**/*.json")}
    assert call("fewshot", "--resume", run) == 0
    table = capsys.readouterr().out
    assert "3-way 4-shot, 2 folds, last epoch" in table and "± sample std" in table and "Holm" in table
    assert max(len(line) for line in table.splitlines() if "folder:" not in line) <= 80
    assert before == {p: p.stat().st_mtime_ns for p in run.glob("folds/**/*.json")}


def test_shards_meet_in_one_table(run, tmp_path, capsys):
    words = ["--config", SMALL, "--jobs", "1", "--output", tmp_path / "run"]
    for number in (1, 2, 3):
        assert not (tmp_path / "run" / "table.md").exists()
        assert call("fewshot", *words, "--shard", f"{number}/3") == 0
    printed = capsys.readouterr().out
    assert "shard 1/3 is done; others have 4 to finish" in printed and printed.count("protocol:") == 1
    for file in run.glob("folds/*/*/*.json"):
        own, other = (json.loads(path.read_text()) for path in (file, tmp_path / "run" / file.relative_to(run)))
        assert all(own[key] == other[key] for key in ("accuracy", "predictions", "episode"))


def test_the_grid_methods_and_overrides(tmp_path, capsys):
    words = ["--way", "2", "3", "train.epochs=1", "--shot", "2", "--folds", "1", "--methods", "linear"]
    assert call("fewshot", "--config", SMALL, *words, "--jobs", "1", "--output", tmp_path / "run") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [(held["way"], held["shot"], list(held["methods"])) for held in summary["settings"]] == [
        (2, 2, ["linear"]),
        (3, 2, ["linear"]),
    ]
    assert "epochs 1" in summary["protocol"]
    assert "2-way 2-shot, 1 folds" in capsys.readouterr().out
    assert call("fewshot", "--resume", tmp_path / "run", "--folds", "2") == 0
    assert "2-way 2-shot, 2 folds" in capsys.readouterr().out


def test_any_classification_run_is_a_comparison(tmp_path, capsys):
    words = ["--shot", "2", "query=1", "--methods", "prototype", "nearest", "--folds", "1", "--jobs", "1"]
    assert call("fewshot", "--config", TINY / "cls.yaml", *words, "--output", tmp_path / "run") == 0
    assert "5-way 2-shot" in capsys.readouterr().out


def test_a_dry_run_touches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call("fewshot", "--dry-run", "--way", "5", "10", "train.epochs=7") == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    assert resolved["way"] == [5, 10] and resolved["train"]["epochs"] == 7 and "clora" in resolved["methods"]
    assert call("write_episodes", "episodes", "--dry-run") == 0
    assert not any(tmp_path.iterdir())


def test_a_failed_fold_is_named_and_the_exit_code_says_so(tmp_path, capsys):
    """A data set whose object 5 cannot be read: folds that ask for it fail, in their own processes too."""
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from pcclora.data import ProceduralConfig, ProceduralDataset\n"
        "from pcclora.errors import PccloraError\n"
        "from pcclora.registry import DATASETS\n"
        "@dataclass\n"
        "class Mine(ProceduralConfig):\n"
        "    broken: bool = True\n"
        "class Broken(ProceduralDataset):\n"
        "    def __getitem__(self, index):\n"
        "        if self.config.broken and self.split == 'test' and self.labels[index] % 4 == 1:\n"
        "            raise PccloraError(f'object {index} cannot be read')\n"
        "        return super().__getitem__(index)\n"
        "if 'broken' not in DATASETS.names():\n"
        "    DATASETS.register('broken', config=Mine)(Broken)\n"
    )
    words = ["data={name: broken, train: 96, test: 64, points: 128}", "--methods", "prototype", "--folds", "6"]
    words += ["--plugin", plugin, "--jobs", "2"]
    assert call("fewshot", "--config", SMALL, *words, "--output", tmp_path / "run") == 1
    printed = capsys.readouterr()
    assert "failed: 3-way 4-shot, prototype, fold" in printed.err and "cannot be read" in printed.err
    assert "Traceback" not in printed.err and "folds of methods missing" in printed.out
    assert 0 < len(list(tmp_path.glob("run/folds/*/*/*.json"))) < 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--way", "x"], "--way x: a whole number is expected"),
        (["--methods", "linaer"], "did you mean 'linear'"),
        (["--jobs", "-1"], "--jobs -1"),
        (["--way", "40"], "40 ways are asked for"),
        (["--scheduler", "tcp://127.0.0.1:1", "--folds", "1"], "no Dask scheduler answers there"),
        (["adapterr=lora"], "did you mean 'adapter'"),
    ],
)
def test_bad_input_is_one_message(tmp_path, capsys, words, message):
    if "--scheduler" in words:
        pytest.importorskip("distributed")
    assert call("fewshot", "--config", SMALL, "--output", tmp_path / "run", *words) == 2
    printed = capsys.readouterr().err
    assert "error: " in printed and message in printed and "Traceback" not in printed
    assert not list(tmp_path.glob("run/folds"))
    assert (tmp_path / "run").exists() == ("--scheduler" in words)  # it may answer later


def test_a_comparison_is_never_overwritten_nor_made_another(run, capsys):
    before = {p: p.stat().st_mtime_ns for p in run.glob("folds/**/*.json")}
    assert call("fewshot", "--config", SMALL, "--output", run) == 0, "the same command finds all of it finished"
    assert before == {p: p.stat().st_mtime_ns for p in run.glob("folds/**/*.json")}
    assert call("fewshot", "--config", SMALL, "--output", run, "train.epochs=9") == 2
    assert "never overwritten" in capsys.readouterr().err
    for words in (["train.epochs=9"], ["--way", "2"], ["--methods", "linear"]):
        assert call("fewshot", "--resume", run, *words) == 2
        assert "leave out" in capsys.readouterr().err
    assert call("fewshot", "--resume", run.parent) == 2
    assert "config.yaml" in capsys.readouterr().err


def test_episodes_are_written_read_and_never_overwritten(tmp_path, capsys):
    root = tmp_path / "episodes"
    assert call("write_episodes", root, "--config", SMALL, "way=[2,3]", "--points", "64") == 0
    assert sorted(path.name for path in root.iterdir()) == ["2way_4shot", "3way_4shot"]
    content = pickle.loads((root / "2way_4shot" / "1.pkl").read_bytes())
    assert len(content["train"]) == 8 and len(content["test"]) == 6 and content["train"][0][0].shape == (64, 6)
    words = ["--way", "3", f"episodes={root}", "--methods", "prototype", "--jobs", "1"]
    assert call("fewshot", "--config", SMALL, *words, "--way", "2", "--output", tmp_path / "run") == 0
    assert "episodes, point_mae_tiny, 64 points" in capsys.readouterr().out
    record = json.loads((tmp_path / "run/folds/2way_4shot/prototype/1.json").read_text())
    assert record["episode"]["fold"] == 1 and record["episode"]["source"] == "procedural"

    shutil.rmtree(root / "2way_4shot")
    assert call("write_episodes", root, "--config", SMALL, "way=[2,3]") == 2
    assert "never overwritten" in capsys.readouterr().err and not (root / "2way_4shot").exists()
    assert call("fewshot", "--config", SMALL, *words, "--way", "2", "--output", tmp_path / "other") == 2
    assert "2way_4shot" in capsys.readouterr().err and not (tmp_path / "other").exists()
    assert call("fewshot", "--config", SMALL, *words, "--folds", "3", "--output", tmp_path / "other") == 2
    assert "no such fold" in capsys.readouterr().err
