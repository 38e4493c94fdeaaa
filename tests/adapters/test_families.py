"""Every registered method on every family of backbones for points, in both tasks: it trains, or is refused by name."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pcclora
from pcclora import PccloraError
from pcclora.adapters import list_adapters
from pcclora.registry import ADAPTERS
from tests.adapters.backbones import CLASSES, point_transformer
from tests.adapters.cases import METHODS, config

FAMILIES = ("point_mae", "point_bert", "act", "recon", "recon_plain")
CASE: dict[str, str] = {}
"""Registered name -> the first of the table's cases of it."""
for case in METHODS:
    CASE.setdefault(ADAPTERS.name_of(config(case, "point_mae_tiny")), case)


@pytest.mark.parametrize("method", list_adapters())
@pytest.mark.parametrize("task", ["cls", "partseg"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_method_trains_and_leaves_no_trace_or_is_refused_by_name(family: str, task: str, method: str) -> None:
    model, x = point_transformer(family, task)
    base = answer(model, x)
    try:
        adapter = pcclora.attach(model, config(CASE[method], "point_mae_tiny"))
    except PccloraError as error:
        refused = re.match(r"\w+ has no place '(\w+)', where this method acts; it has \w+", str(error))
        assert refused is not None and refused[1] not in model.places
        # only ReCon's blocks are of another kind, only classifiers have a head, and only images have patches
        assert family == "recon" or task == "partseg" or refused[1] == "patches"
        assert torch.equal(answer(model, x), base)
        return
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    step(model, x)
    moved = {name for name, p in model.named_parameters() if name in before and not torch.equal(p, before[name])}
    assert moved and (not list(adapter.parameters()) or any(name.startswith("adapters.") for name in moved))
    together = answer(model.eval(), x)
    assert torch.isfinite(together).all()
    alone = torch.cat([answer(model, x, only=i) for i in range(len(x))])
    assert (alone - together).abs().max() <= 2e-6 * together.abs().max()
    pcclora.detach(model)
    assert torch.equal(answer(model, x), base)


def run(model: nn.Module, x: Tensor, category: Tensor) -> Tensor:
    return model(x) if model.task == "cls" else model(x, category)


def answer(model: nn.Module, x: Tensor, only: int | None = None) -> Tensor:
    rows = slice(None) if only is None else slice(only, only + 1)
    with torch.no_grad():
        return run(model, x[rows], categories(x)[rows])


def categories(x: Tensor) -> Tensor:
    return torch.arange(len(x)) % 3


def step(model: nn.Module, x: Tensor) -> None:
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    logits = run(model.train(), x, categories(x)).flatten(0, -2)
    F.cross_entropy(logits, torch.arange(len(logits)) % CLASSES).backward()
    optimiser.step()
