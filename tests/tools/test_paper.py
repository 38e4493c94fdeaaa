"""A file of several tables: parts alone and together, what is not here, and the published figures beside."""

import re

import pytest

from tests.data.image_trees import vtab_task
from tests.tools.test_tools import TINY, call

PAPER = f"""
settings:
  linear probe: [adapter=linear]
  Adapter+: [adapter=adapter_plus, adapter.m=2]
elsewhere: [Theirs]
sources:
  README: {{where: README of them, protocol: scale and shift, epoch: best on the test set}}
  notes: {{where: notes, protocol: rotation, secondary: true}}
parts:
  shapes:
    config: {TINY / "cls.yaml"}
    needs: {{objects: data.train}}
    seeds: [0]
    options: [train.epochs=1]
    settings:
      Adapter: [adapter=adapter, adapter.m=2]
    published:
      Adapter+: {{README: "85.1", notes: "84 to 86"}}
      Theirs: {{notes: "90.0"}}
  few-shot 3-way:
    study: fewshot
    config: {TINY / "fewshot.yaml"}
    needs: {{clouds: data.train}}
    options: [folds=1, train.epochs=1]
    without: {{Adapter+: it is slow}}
    settings:
      nearest: [classifier=nearest]
    published:
      nearest: {{README: "96.3 ± 2.5"}}
    note: Papers print another spread.
"""
IMAGES = f"""  tasks:
    study: suite
    config: {TINY / "image.yaml"}
    needs: {{vtab1k: data.root}}
    options: [data=vtab1k, train.epochs=1, train.warmup_epochs=0, train.batch_size=4]
    without: {{Adapter+: it is slow}}
    tasks: [specialized]
    seeds: [0]
    grid: {{train.lr: [0.01]}}
    published:
      linear probe: {{README: "Specialized 77.2"}}
"""


@pytest.fixture
def paper(tmp_path):
    file = tmp_path / "paper.yaml"
    file.write_text(PAPER)
    return file


def cells(printed: str, name: str) -> list[list[str]]:
    """Return the cells of the rows of a name."""
    return [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith(f"| {name} |")]


def test_what_is_not_here_is_left_out(paper, tmp_path, capsys):
    assert call("results", paper, "--output", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("left out: ") == 2
    assert "left out: shapes; it needs --have objects=PATH" in said.err
    assert not (tmp_path / "out").exists()


def test_the_published_stand_there_before_anything_is_trained(paper, tmp_path, capsys):
    assert call("results", paper, "--output", tmp_path / "out", "--table") == 0
    printed = capsys.readouterr().out
    assert "## shapes\n" in printed and "## few-shot 3-way\n" in printed
    assert ["Adapter+", "missing", "", "85.1 [1]; 84 to 86 [2, secondary]"] == cells(printed, "Adapter+")[0][:4]
    assert "| Theirs |  |  | 90.0 [2, secondary] |" in printed
    assert "[1] README of them; scale and shift; epoch best on the test set.\n" in printed
    assert "[2] notes; rotation; epoch not stated; secondary.\n" in printed
    assert "Papers print another spread." in printed and "Without Adapter+: it is slow." in printed


@pytest.mark.slow
def test_a_part_alone_and_again(paper, tmp_path, capsys):
    words = ["results", paper, "--output", tmp_path / "out", "--have", "objects=48", "--latex", tmp_path / "table.tex"]
    assert call(*words, "--part", "shapes") == 0
    first = capsys.readouterr().out
    assert "## few-shot" not in first and "missing" not in first
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"shapes"}
    homes = {path.name for path in (tmp_path / "out" / "shapes").iterdir()}
    assert homes == {"linear_probe", "adapter", "adapter_plus"}, "names that differ by a sign have folders of their own"
    assert re.search(r"% shapes\n(%.*\n)+\\begin{tabular}", (tmp_path / "table.tex").read_text())
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("summary.json")}
    assert call(*words, "--have", "clouds=96") == 0
    printed = capsys.readouterr().out
    assert first in printed, "nothing is trained again"
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())
    assert [len(rows) for rows in (cells(printed, "linear probe"), cells(printed, "nearest"))] == [2, 1]
    assert cells(printed, "nearest")[0][4] == "96.3 ± 2.5 [1]" and "folds" in {
        path.name for path in (tmp_path / "out" / "few_shot_3_way").iterdir()
    }


@pytest.mark.slow
def test_a_suite_for_each_setting(paper, tmp_path, capsys):
    pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
    for task in ("patch_camelyon", "eurosat", "resisc45", "diabetic_retinopathy"):
        vtab_task(tmp_path / "data", task, classes=2)
    paper.write_text(PAPER + IMAGES)
    words = ["results", paper, "--output", tmp_path / "out", "--part", "tasks"]
    assert call(*words, "--table") == 0
    assert cells(capsys.readouterr().out, "linear probe")[0][1] == "missing"
    assert call(*words, "--have", f"vtab1k={tmp_path / 'data'}") == 0
    printed = capsys.readouterr().out
    heading = ["setting", *"patch_camelyon eurosat resisc45 diabetic_retinopathy Specialized published".split()]
    assert cells(printed, "setting")[0] == [*heading, "trained"]
    row = cells(printed, "linear probe")[0]
    assert float(row[5]) == pytest.approx(sum(map(float, row[1:5])) / 4, abs=0.06), "the mean of the group"
    assert row[6:] == ["Specialized 77.2 [1]", "0 + head"] and "mean [0.5" in printed
    assert call(*words, "--have", f"vtab1k={tmp_path / 'data'}") == 0
    assert capsys.readouterr().out == printed
    assert call(*words, "--have", f"vtab1k={tmp_path / 'data'}", "normalization=imagenet") == 2
    assert "linear_probe: begun with other options" in capsys.readouterr().err


def test_a_dry_run_resolves_each_setting_of_what_is_here(paper, tmp_path, capsys):
    assert call("results", paper, "--output", tmp_path / "out", "--have", "objects=7", "--dry-run", "train.lr=0.5") == 0
    printed = capsys.readouterr().out
    assert "# shapes: Adapter+\n" in printed and printed.count("lr: 0.5\n") == 3 == printed.count("train: 7\n")
    assert not (tmp_path / "out").exists()


def test_what_fails_is_named_with_its_part(paper, tmp_path, capsys):
    words = ["results", paper, "--output", tmp_path / "out", "--have", "objects=48", "--part", "shapes"]
    assert call(*words, "train.lr=1.0e+20") == 1
    assert "failed: shapes, linear probe, seed 0: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (("Theirs]", "Others]"), [], "shapes: published: there is no 'Theirs'"),
        (("{README:", "{REDME:"), [], "there is no 'REDME'; did you mean 'README'?"),
        (("{Adapter+: it", "{Adaptor: it"), [], "without: there is no 'Adaptor'; did you mean 'Adapter+'?"),
        (("few-shot 3-way", "Shapes"), [], "'Shapes' and 'shapes' have the same letters and digits"),
        (("folds=1", "'way=[2,3]'"), [], "one of each is a table"),
        (("adapter.m=2]", "adapter.r=2]"), [], "adapter.r: unknown key"),
        (("study: fewshot", "study: folds"), [], "folds"),
        (("note:", "notes:"), [], "notes"),
        (("", ""), ["--part", "shape"], "there is no 'shape'; did you mean 'shapes'?"),
        (("", ""), ["--have", "object=7"], "there is no 'object'; did you mean 'objects'?"),
        (("", ""), ["--have", "objects"], "a name and its place are expected"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(change, words, message, paper, tmp_path, capsys):
    paper.write_text(PAPER.replace(*change, 1))
    here = ["--have", "objects=48", "--have", "clouds=96"]
    assert call("results", paper, "--output", tmp_path / "out", *here, *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_comparison_has_no_parts(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(f"config: {TINY / 'cls.yaml'}\nsettings: {{LoRA: [adapter=lora]}}\n")
    assert call("results", tmp_path / "a.yaml", "--output", tmp_path / "out", "--part", "a") == 2
    assert "has no parts" in capsys.readouterr().err
    (tmp_path / "a.yaml").write_text(f"config: {TINY / 'cls.yaml'}\nsettings: {{A b: [], a-b: []}}\n")
    assert call("results", tmp_path / "a.yaml", "--output", tmp_path / "out") == 2
    assert "'a-b' and 'A b' have the same letters and digits" in capsys.readouterr().err
