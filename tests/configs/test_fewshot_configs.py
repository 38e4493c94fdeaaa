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
SMALL = {
    "idpt": ["k=4"],
    "pointgst": ["local=4"],
    "consolidator": ["groups=4"],
    "pointlora": ["num_groups=[8,4]", "group_size=[6,9]", "chosen=[3,2]"],
    "gaprompt": ["groups=4", "group_size=3", "shape_groups=[16,8]"],
    "stag": ["k=3"],
}
"""What of a method does not fit so small a trunk."""
DATA = ["data={name: procedural, train: 96, test: 64, points: 64}", "episodes=''", "query=3", "way=[3]", "shot=[2]"]


def test_every_file_is_found():
    assert len(FILES) >= 8


@pytest.mark.parametrize("path", FILES, ids=str)
def test_it_resolves_and_says_how_to_run_it(path):
    text = (ROOT / path).read_text()
    load_fewshot(ROOT / path, [])
    assert f"--config {path.relative_to('configs').with_suffix('')}" in text


def test_the_embedded_default_is_spelled_out():
    spelled = load_fewshot(ROOT / "configs/fewshot/procedural.yaml", [])
    assert dataclasses.asdict(spelled) == dataclasses.asdict(FewShotRun())


def _small(words: list[str]) -> list[str]:
    """Return the words of a method with settings that fit the small trunk."""
    adapter = words[0].removeprefix("adapter=")
    return [*words, *(f"adapter.{own}" for own in SMALL.get(adapter, ()))]


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "methods_modelnet10"], ids=str)
def test_each_method_runs_a_fold(path, tmp_path):
    values = yaml.safe_load((ROOT / path).read_text())
    values.pop("data", None)
    kept = {name: _small(words) for name, words in values["methods"].items() if not _repeats(path, name)}
    (tmp_path / path.name).write_text(yaml.safe_dump(values | {"methods": kept}))
    config = load_fewshot(tmp_path / path.name, [*TINY, *DATA])
    for name in config.methods:
        assert 0 <= run_fold(config.method(name), 3, 2, 0)["accuracy"] <= 1


def _repeats(path: Path, name: str) -> bool:
    """Whether another method of a file is the same but for its rate: that of methods_rates runs in methods_relics."""
    return path.stem == "methods_rates" and not name.startswith("LoRA, ")


def test_the_rates_of_all_methods_are_chosen_alike():
    relics, modelnet10, rates = (_methods(f"methods_{name}") for name in ("relics", "modelnet10", "rates"))
    assert relics == modelnet10
    tried = [own for own in rates if "classifier" not in own[0]]
    for own in (own for own in relics if "classifier" not in own[0]):
        points = [other for other in tried if other[:-1] == own[:-1]]
        assert len(points) == 3 and own in points, own


def _methods(name: str) -> list[list[str]]:
    return list(yaml.safe_load((ROOT / f"configs/fewshot/{name}.yaml").read_text())["methods"].values())
