"""The benchmark measures what it says, at sizes small enough for a test."""

import csv
import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture
def benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "tools")
    monkeypatch.setenv("PCCLORA_BACKEND", "auto")  # the benchmark sets it
    for name in [name for name in sys.modules if name.split(".")[0] in ("benchmark", "benchmarks")]:
        monkeypatch.delitem(sys.modules, name)
    ops = importlib.import_module("benchmarks.ops")
    for name, value in {"SIZES": ((64, 8),), "B": 2, "K": 4}.items():
        monkeypatch.setattr(ops, name, value)
    return importlib.import_module("benchmark")


def test_ops_by_every_method_in_80_columns(benchmark, monkeypatch, capsys, tmp_path):
    table = tmp_path / "table.csv"
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--only", "ops", "--rounds", "2", "--csv", str(table)])
    benchmark.main()
    rows = list(csv.DictReader(table.open()))
    assert {row["case"] for row in rows} == {"fps 64/8", "knn 64/8"}
    for case in ("fps 64/8", "knn 64/8"):
        assert {"torch", "bound"} <= {row["method"] for row in rows if row["case"] == case}
    assert {"cKDTree", "nanoflann", "cdist+topk"} <= {row["method"] for row in rows}
    assert all(float(row["median ms"]) >= float(row["min ms"]) >= 0 for row in rows)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[1:])) <= 80


def test_adapters_beside_peft(benchmark, monkeypatch):
    import benchmarks.adapters

    for name, value in {"DIM": 24, "DEPTH": 1, "HEADS": 2, "TOKENS": 5, "BATCH": 2, "RANK": 2}.items():
        monkeypatch.setattr(benchmarks.adapters, name, value)
    rows = {(row.case, row.method): row for row in benchmarks.adapters.measure(1)}
    assert {("train step", "clora"), ("train step", "peft r=32"), ("sade", "plain")} <= rows.keys()
    assert all(row.minimum >= 0 for row in rows.values())


@pytest.fixture
def partseg(benchmark, monkeypatch):
    partseg = importlib.import_module("benchmarks.partseg")
    widths = {"dim": 24, "depth": 3, "heads": 3, "encoder_widths": (6, 8, 10), "part_widths": (12, 10, 8, 6)}
    sizes = {
        "N": 64,
        "GROUPS": 8,
        "BATCHES": (2,),
        "MODEL": partseg.MODEL | {"num_groups": 8, "group_size": 8, **widths},
    }
    for name, value in sizes.items():
        monkeypatch.setattr(partseg, name, value)
    return partseg


def test_part_segmentation_beside_its_literal_form(partseg, monkeypatch):
    monkeypatch.setattr(partseg, "peak_mb", lambda method, B: 3.0)  # its process would take the full sizes
    rows = {row.method: row for row in partseg.measure(1)}
    assert rows.keys() == {"ours", "literal", "bound"}
    assert rows["bound"].minimum > 0 and rows["ours"].peak_mb == rows["literal"].peak_mb == 3.0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read on Linux only")
def test_peak_memory_grows_with_the_batch(partseg):
    small, large = partseg._peak_mb("literal", 1), partseg._peak_mb("literal", 2048)
    assert 0 <= small < large


def test_methods_that_disagree_are_not_timed(benchmark):
    import benchmarks.ops
    import torch

    with pytest.raises(AssertionError, match="peer and torch differ"):
        benchmarks.ops._require_equal({"torch": torch.zeros(2), "peer": torch.ones(2)})


@pytest.mark.slow
def test_import_time_is_paired(benchmark):
    import benchmarks.imports

    torch, pcclora, difference = benchmarks.imports.measure(1)
    assert difference.samples[0] == pcclora.samples[0] - torch.samples[0]
    assert pcclora.samples[0] > 0
