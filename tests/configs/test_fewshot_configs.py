"""Every YAML in configs/fewshot is a comparison: it resolves, says how it is run, and its methods run a fold each."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from pcclora.studies.fewshot.fold import run_fold
from pcclora.studies.fewshot.settings import FewShotRun, load_fewshot

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.relative_to(ROOT) for path in ROOT.glob("configs/fewshot/*.yaml"))
TINY = [f"model.{k}" for k in ("dim=24", "depth=2", "heads=2", "num_groups=8", "group_size=8")]
TINY += ["model.encoder_widths=[8,16,32]", "checkpoint=none", "points=64", "train.epochs=1", "train.batch_size=6"]
DATA = ["data={name: procedural, train: 96, test: 64, points: 64}", "episodes=''", "query=3", "way=[3]", "shot=[2]"]


def test_every_file_is_found():
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=str)
def test_it_resolves_and_says_how_to_run_it(path):
    text = (ROOT / path).read_text()
    load_fewshot(ROOT / path, [])
    assert f"--config {path.relative_to('configs').with_suffix('')}" in text


def test_the_embedded_default_is_spelled_out():
    spelled = load_fewshot(ROOT / "configs/fewshot/procedural.yaml", [])
    assert dataclasses.asdict(spelled) == dataclasses.asdict(FewShotRun())


@pytest.mark.parametrize("path", FILES, ids=str)
def test_each_method_runs_a_fold(path, tmp_path):
    values = yaml.safe_load((ROOT / path).read_text())
    values.pop("data", None)
    (tmp_path / path.name).write_text(yaml.safe_dump(values))
    config = load_fewshot(tmp_path / path.name, [*TINY, *DATA])
    for name in config.methods:
        assert 0 <= run_fold(config.method(name), 3, 2, 0)["accuracy"] <= 1
