"""Every YAML in configs/ is a run: it resolves, names what is registered, and trains a step at a tiny size."""

import dataclasses
from pathlib import Path

import pytest

from pcclora.config import load_config
from pcclora.studies.comparison import Comparison
from pcclora.studies.grid import read_grid
from pcclora.tasks.settings import ClassificationRun, ImageRun, PartSegmentationRun, PretrainRun

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {"cls": ClassificationRun, "partseg": PartSegmentationRun, "image": ImageRun, "pretrain": PretrainRun}
FOUND = sorted(path.relative_to(ROOT) for task in SCHEMAS for path in ROOT.glob(f"configs/{task}/*/*.yaml"))
GRIDS = [path for path in FOUND if path.stem.startswith("grid")]
COMPARISONS = sorted(path for path in ROOT.glob("configs/results/*.yaml") if not path.stem.startswith("paper_"))
RUNS = [path for path in FOUND if path not in GRIDS]


def _load(path: Path, overrides: tuple[str, ...] = ()):
    return load_config(SCHEMAS[path.parts[1]], file=ROOT / path, overrides=overrides)


def test_every_configuration_is_found():
    assert len(RUNS) >= 14
    assert not [path for path in ROOT.glob("configs/*") if path.name not in (*SCHEMAS, "results", "fewshot")]


@pytest.mark.parametrize("path", RUNS, ids=str)
def test_it_resolves_and_says_how_to_run_it(path):
    _load(path)
    name = path.relative_to("configs").with_suffix("")
    assert f"--config {name}" in (ROOT / path).read_text(), "the first lines hold the command that runs it"


@pytest.mark.parametrize("path", [p for p in RUNS if p.parts[1] != "pretrain"], ids=str)
def test_its_name_says_backbone_and_adapter(path):
    from pcclora.registry import ADAPTERS, MODELS

    run = _load(path)
    model = MODELS.name_of(run.model).removesuffix("_plain")
    model = model.removeprefix("timm/").partition("_patch16")[0]
    assert path.stem == f"{model}_{ADAPTERS.name_of(run.adapter)}"


@pytest.mark.parametrize("path", [p for p in RUNS if p.parts[1] in ("partseg", "image")], ids=str)
def test_it_says_its_task(path):
    """Without it ``pcclora evaluate`` and ``pcclora results`` would take the file for one of classification."""
    assert f"\ntask: {path.parts[1]}\n" in (ROOT / path).read_text()


@pytest.mark.parametrize("path", GRIDS, ids=str)
def test_each_point_of_a_grid_is_a_run(path):
    runs = [run for run in RUNS if run.parent == path.parent and (path.stem != "grid" or run.stem.endswith("clora"))]
    points = read_grid(ROOT / path)
    assert runs and len(set(points)) == len(points) >= 4
    for run in runs:
        _load(run, points[0])
        _load(run, points[-1])


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.name)
def test_a_comparison_resolves_every_setting(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    comparison = load_config(Comparison, file=path)
    assert comparison.task.figures
    for name in comparison.settings:
        comparison.run(name, ["data.root=DATA"] if "data.root=DATA" in path.read_text() else [])


@pytest.mark.parametrize(
    ("task", "dataset"), [("cls", "modelnet40"), ("cls", "scanobjectnn"), ("partseg", "shapenetpart")]
)
def test_the_matrix_is_whole(task, dataset):
    have = {path.stem for path in RUNS if path.parts[1:3] == (task, dataset)}
    assert have >= {
        f"{m}_{a}" for m in ("point_mae", "point_bert", "recon") for a in ("full", "linear", "lora", "clora")
    }


@pytest.mark.parametrize("dataset", ["vtab1k", "fgvc"])
def test_the_suites_have_every_method(dataset):
    have = {path.stem for path in RUNS if path.parts[1:3] == ("image", dataset)}
    assert have >= {f"vit_base_{a}" for a in ("linear", "bitfit", "lora", "clora", "full")}


DEFAULTS = {
    "cls": "procedural/point_mae_tiny_clora",
    "partseg": "procedural/point_mae_tiny_clora",
    "image": "digits/vit_mini_clora",
}


@pytest.mark.parametrize("task", DEFAULTS)
def test_the_embedded_default_is_spelled_out(task):
    path = Path(f"configs/{task}/{DEFAULTS[task]}.yaml")
    assert dataclasses.asdict(_load(path)) == dataclasses.asdict(SCHEMAS[task]())


TINY_MODEL = [f"model.{k}" for k in ("dim=24", "depth=2", "heads=2", "num_groups=8", "group_size=8")]
TINY = [
    *TINY_MODEL,
    "model.encoder_widths=[8,16,32]",
    "model.decoder_depth=1",
    "checkpoint=none",
    "data.name=procedural",
    "data.train=16",
    "data.test=5",
    "data.points=64",
    "points=64",
]
TINY_IMAGES = {
    "vit_mini": ["model.depth=1", "model.embed_dim=24", "model.num_heads=2", "model.patch_size=16"],
    "vit_base": ["model.depth=1", "model.embed_dim=24", "model.num_heads=2", "model.img_size=32"],
}
TINY_SCRATCH = {
    "pointnet": ["model.widths=[8,8]", "model.head_widths=[8]"],
    "dgcnn": ["model.widths=[8,8]", "model.head_widths=[8]", "model.embedding=8", "model.neighbours=4"],
}
TINY_OF = {
    name: [*model, "checkpoint=none", "data={name: digits, classes: low}"] for name, model in TINY_IMAGES.items()
} | {name: [*model, *TINY[len(TINY_MODEL) + 2 :], "train.batch_size=8"] for name, model in TINY_SCRATCH.items()}
SHORT = ["train.epochs=1", "train.workers=0"]


@pytest.mark.parametrize("path", RUNS, ids=str)
def test_it_trains(path, tmp_path):
    from pcclora.runs.adapt import train
    from pcclora.runs.pretrain import pretrain

    small = tmp_path / path.name
    small.write_text(_without_data((ROOT / path).read_text()))
    fitting = ["model.part_levels=[32,16]"] if "partseg" in path.parts and "point_bert" in path.stem else []
    fitting += ["adapter.r=8"] if path.stem.endswith("dapt") else []
    fitting += ["adapter.local=4"] if path.stem.endswith("pointgst") else []
    fitting += ["adapter.shape_groups=[16,8]"] if path.stem.endswith("gaprompt") else []
    fitting += ["adapter.num_groups=[8,4]", "adapter.chosen=[3,2]"] if path.stem.endswith("pointlora") else []
    own = next((tiny for name, tiny in TINY_OF.items() if f"{path.stem}_".startswith(f"{name}_")), None)
    tiny = own or [*TINY, *fitting, "train.batch_size=8"]
    config = load_config(SCHEMAS[path.parts[1]], file=small, overrides=[*tiny, *SHORT])
    run = (pretrain if path.parts[1] == "pretrain" else train)(config, tmp_path / "run")
    assert run.finished


def _without_data(text: str) -> str:
    """Drop the data section: procedural clouds and scikit-learn's digits stand in for what is not there."""
    import yaml

    values = yaml.safe_load(text)
    values.pop("data", None)
    return yaml.safe_dump(values)
