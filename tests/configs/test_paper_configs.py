"""The tables of the literature in configs/results: each setting resolves and fits, each method is there."""

from dataclasses import replace
from pathlib import Path

import pytest

import pcclora
from pcclora.config import load_config
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS, MODELS
from pcclora.studies.paper import Paper
from pcclora.tasks.registry import task_of

pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
ROOT = Path(__file__).resolve().parents[2]
PAPERS = {path.stem: load_config(Paper, file=path) for path in sorted(ROOT.glob("configs/results/paper_*.yaml"))}
PARTS = [(name, part) for name, paper in PAPERS.items() for part in paper.parts]
TYPICAL = [("paper_points", "ModelNet40"), ("paper_points", "ShapeNetPart"), ("paper_images", "VTAB-1K AugReg")]
SIZES = {"partseg": {"num_parts": 50, "num_categories": 16}}
NOT_IN_THEM = {"houlsby": "the tables have Adapter, its form with one place a block"}


def _everything(paper: Paper) -> dict[str, str]:
    return {need: f"/{need}" for part in paper.parts.values() for need in part.needs}


def test_there_are_two():
    assert list(PAPERS) == ["paper_images", "paper_points"]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_every_setting_of_a_part_resolves(name, part):
    paper = PAPERS[name]
    runs = paper.open(part, _everything(paper), ["train.epochs=1"]).runs()
    assert len(runs) == len(set(runs)) >= len(paper.settings) - len(paper.parts[part].without)
    for run in runs.values():
        assert run.train.epochs == 1 and run.checkpoint in ("/point_mae", "/original", "/augreg")
        assert (getattr(run, "episodes", "") or run.data.root).startswith("/")


@pytest.mark.parametrize("name", PAPERS)
def test_every_figure_says_where_it_is_from_and_by_what_protocol(name):
    paper = PAPERS[name]
    used = {source for part in paper.parts.values() for own in part.published.values() for source in own}
    assert used == set(paper.sources)
    for part in paper.parts.values():
        assert part.published
    for source in paper.sources.values():
        assert source.where and source.protocol and source.epoch in str(source)
        assert source.secondary == any(word in source.where for word in ("memory", "notes", "second-hand"))


@pytest.mark.parametrize(("name", "part"), TYPICAL)
def test_every_setting_fits_the_model_and_every_method_that_does_is_there(name, part):
    runs = PAPERS[name].open(part, {}).runs()
    run = runs["CLoRA"]
    head = task_of(run).head
    model = MODELS.build(
        replace(run.model, depth=3 if head == "partseg" else 2), task=head, **SIZES.get(head, {"num_classes": 15})
    )
    for setting, own in runs.items():
        assert _fits(model, own.adapter), setting
    named = {ADAPTERS.name_of(own.adapter) for own in runs.values()}
    for method in sorted(set(pcclora.list_adapters()) - named - set(NOT_IN_THEM)):
        assert not _fits(model, pcclora.adapter_config(method)), method


def _fits(model, adapter) -> bool:
    """Whether a model has the places of an adapter."""
    try:
        pcclora.attach(model, adapter)
    except PccloraError:
        return False
    pcclora.detach(model)
    return True
