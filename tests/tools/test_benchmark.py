"""The benchmark measures what it says, at sizes small enough for a test."""

import csv
import functools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pcclora
from pcclora.adapters import STAGConfig
from pcclora.errors import PccloraError
from pcclora.tools import benchmark as tool
from pcclora.tools import benchmarks


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setenv("PCCLORA_BACKEND", "auto")  # the benchmark sets it
    ops = benchmarks.ops
    for name, value in {"SIZES": ((64, 8),), "B": 2, "K": 4}.items():
        monkeypatch.setattr(ops, name, value)
    return tool


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
    adapters = benchmarks.adapters
    for name, value in {"DIM": 24, "DEPTH": 1, "HEADS": 2, "TOKENS": 5, "BATCH": 2, "RANK": 2}.items():
        monkeypatch.setattr(adapters, name, value)
    rows = {(row.case, row.method): row for row in adapters.measure(1)}
    steps = {("train step", "clora"), ("train step", "peft r=32")}
    assert steps | {("sade", "plain"), ("idle places", "four idle")} <= rows.keys()
    assert all(row.minimum >= 0 for row in rows.values())


@pytest.fixture
def partseg(benchmark, monkeypatch):
    partseg = benchmarks.partseg
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
    monkeypatch.setattr(partseg, "peak_mb", lambda prepare, method, B: 3.0)  # its process would take the full sizes
    rows = {row.method: row for row in partseg.measure(1)}
    assert rows.keys() == {"ours", "literal", "bound"}
    assert rows["bound"].minimum > 0 and rows["ours"].peak_mb == rows["literal"].peak_mb == 3.0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read on Linux only")
def test_peak_memory_grows_with_the_batch(partseg):
    measure_peak = benchmarks.resources.measure_peak
    small, large = (measure_peak(partseg.prepare, "literal", B) for B in (1, 2048))
    assert 0 <= small < large


@pytest.fixture
def image(benchmark, monkeypatch):
    image = benchmarks.image
    small = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2}
    for name, value in {"MODEL": image.MODEL | small, "SIZE": 32, "BATCH": 2, "RANK": 2}.items():
        monkeypatch.setattr(image, name, value)
    return image


def test_images_beside_peft_and_the_bare_backbone(image, monkeypatch):
    monkeypatch.setattr(image, "peak_mb", lambda prepare, method, device: 3.0)  # its process would take the full sizes
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rows = {(row.case, row.method): row for row in image.measure(1)}
    steps = {method for case, method in rows if case == "train cpu"}
    assert steps == {"clora", "clora, input", "lora r=8", "peft r=8", "peft r=2", "linear", "bound"}
    assert {method for case, method in rows if case == "infer cpu"} == {"bare", "clora", "merged", "bound"}
    assert all(row.minimum >= 0 for row in rows.values())
    assert rows["train cpu", "clora"].reference == "peft r=8" and rows["infer cpu", "merged"].reference == "bare"


def test_clora_trains_as_many_numbers_as_its_formula_says(image):
    model = image.methods()["clora"](image.bare("cpu"))
    d, m, head = 24, 4, 25 * 100
    expected = image.BASES * (2 * d * image.RANK + m * image.RANK**2) + head
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


def test_a_step_counts_forward_and_backward_products(image):
    count = benchmarks.resources.count_call_macs
    x, weight = torch.rand(5, 3), torch.rand(4, 3, requires_grad=True)
    assert count(lambda: (x @ weight.T).sum()) == 5 * 3 * 4
    assert count(lambda: (x @ weight.T).sum().backward()) == 2 * 5 * 3 * 4


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read on Linux only")
def test_peak_memory_is_measured_in_a_process_of_its_own(benchmark):
    resources = benchmarks.resources
    assert 190 < resources.peak_mb(allocate, 200) < 260


@pytest.mark.slow
def test_exported_models_beside_eager(benchmark, monkeypatch):
    pytest.importorskip("onnxruntime", reason="pip install pcclora[export]")
    export = benchmarks.export
    small = {"num_classes": 5, "depth": 1, "num_groups": 8, "group_size": 8}
    for name, value in {"MODELS": {"point_mae_tiny": ("cls", small, 64)}, "BATCHES": (2,)}.items():
        monkeypatch.setattr(export, name, value)
    monkeypatch.setattr(export, "peak_mb", lambda prepare, *arguments: 3.0)  # its process would take the full sizes
    rows = {row.method: row for row in export.measure(1)}
    assert rows.keys() == {"eager", "onnx", "pt2"}
    assert all(row.reference == "eager" and row.minimum > 0 and row.peak_mb == 3.0 for row in rows.values())


TINY_POINTS = {"name": "point_mae_tiny", "num_classes": 5, "depth": 2}
TINY_IMAGES = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}


@pytest.fixture
def methods(benchmark, monkeypatch):
    methods = benchmarks.methods
    points, images = methods.SIZES.values()
    sizes = {
        "points": replace(points, model=TINY_POINTS, shape=(256, 3), batch=2),
        "images": replace(images, model={"name": images.model["name"], **TINY_IMAGES}, shape=(3, 32, 32), batch=2),
    }
    monkeypatch.setattr(methods, "SIZES", sizes)
    monkeypatch.setattr(methods, "peak_mb", lambda prepare, method, size: 3.0)  # its process would take the full sizes
    for name in "MNK":
        monkeypatch.setattr(benchmarks.resources, name, 64)
    return methods


def test_every_registered_method_has_a_row_or_a_reason(methods, capsys):
    base = methods.bare("points")
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    models = methods.adapted(base, "points")
    left_out = {line.split()[2].rstrip(":") for line in capsys.readouterr().out.splitlines()}
    assert models.keys() | left_out == {*pcclora.list_adapters(), "head alone"} and not left_out & models.keys()
    rows = {row.method: row for row in methods.training(models, "points", 1)}
    assert rows.keys() == models.keys() and all(row.peak_mb == 3.0 for row in rows.values())
    assert rows["full"].notes["of full"] == rows["lora"].notes["of lora"] == "1.00"
    assert {method for method, row in rows.items() if "of released" in row.notes} >= {"full", "idpt", "pointgst"}
    assert (
        rows["head alone"].notes["graph"] == "0" and rows["linear"].notes["graph"] == rows["full"].notes["graph"] == "2"
    )
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items()
    )  # nothing trained shared


def test_stag_records_no_graph_in_its_first_blocks(methods):
    model = methods.bare("points")
    pcclora.attach(model, STAGConfig())
    step = methods.training_step(model, methods.batch("points"))
    assert methods._count(step, model)[1] == 1


def test_methods_on_two_networks_merged_too(methods, monkeypatch, capsys):
    chosen = ["adapter", "clora", "full", "idpt", "linear", "lora", "ssf"]
    monkeypatch.setattr(pcclora, "list_adapters", lambda: chosen)
    rows = {(row.case, row.method): row for row in methods.measure(2)}
    assert {case for case, _ in rows} == {f"{what} {size}" for what in ("train", "infer") for size in methods.SIZES}
    assert "images without idpt: VisionTransformer has no place" in capsys.readouterr().out
    assert ("train points", "idpt") in rows and ("train images", "idpt") not in rows
    assert ("train points", "head alone") in rows and ("train images", "head alone") not in rows
    for size in methods.SIZES:
        bare = {method for case, method in rows if rows[case, method].notes.get("merged") == "bare" and size in case}
        assert bare == {"clora", "full", "lora", "ssf", "linear", *(["head alone"] if size == "points" else [])}
        assert rows[f"infer {size}", "bare"].notes["of bare"] == "1.00"
        assert (f"infer {size}", "lora, merged") in rows


def test_released_steps_are_measured_by_our_full_fine_tuning_on_their_machine(methods, monkeypatch):
    rows = [benchmarks.timing.Row("train points", method, (ms, ms)) for method, ms in (("full", 2.0), ("idpt", 4.0))]
    monkeypatch.setattr(methods, "race", lambda *_, **__: [*rows, benchmarks.timing.Row("", "lora", (1.0, 1.0))])
    base = methods.bare("points")
    monkeypatch.setattr(pcclora, "list_adapters", lambda: ["full", "idpt", "lora"])
    models = methods.adapted(base, "points")
    del models["head alone"]
    notes = {row.method: row.notes for row in methods.training(models, "points", 1)}
    assert notes["idpt"]["of released"] == f"{2 * 1021 / 1753:.2f}" and notes["full"]["of released"] == "0.73"
    assert notes["idpt"]["of lora"] == "4.00"


def test_a_network_that_cannot_be_built_is_said(methods, monkeypatch, capsys):
    broken = replace(methods.SIZES["images"], model={"name": "no_such_model"})
    monkeypatch.setattr(pcclora, "list_adapters", lambda: ["full", "lora"])
    monkeypatch.setitem(methods.SIZES, "images", broken)
    assert {row.case for row in methods.measure(1)} == {"train points", "infer points"}
    assert "not measured: images: " in capsys.readouterr().out
    monkeypatch.setattr(methods, "SIZES", {"images": broken})
    with pytest.raises(PccloraError, match="no_such_model"):
        methods.measure(1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read on Linux only")
def test_peak_memory_of_a_method(methods):
    assert benchmarks.resources.measure_peak(methods.prepare, "idpt", "points") >= 0


def test_a_step_recomputed_and_compiled(methods, monkeypatch, capsys):
    monkeypatch.setattr(benchmarks.training, "SIZE", "points")
    monkeypatch.setattr(benchmarks.training, "METHODS", ("clora",))
    monkeypatch.setattr(benchmarks.training, "peak_mb", lambda prepare, method, way: 3.0)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    rows = {row.method: row for row in benchmarks.training.measure(1)}
    assert rows.keys() == {"clora", "clora, checkpointing", "clora, compiled"}
    assert [row.peak_mb for row in rows.values()] == [3.0, 3.0, None]

    def refuse(_):
        raise RuntimeError("no working C++ compiler")

    def broken(model):
        model.forward = refuse
        return model

    monkeypatch.setattr(torch, "compile", broken)
    assert len(benchmarks.training.measure(1)) == 2
    assert "clora is not compiled: no working C++ compiler" in capsys.readouterr().out
    for call in benchmarks.training.prepare("clora", ", checkpointing"):
        call()


def test_columns_are_those_that_a_case_fills(benchmark, capsys):
    row = benchmarks.timing.Row
    lines = benchmark.show([row("case", "slow", (2.0,), notes={"graph": "3"}), row("case", "fast", (1.0,))])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "case",
        "method median ms  min ms graph",
        "fast     1000.00 1000.00",
        "slow     2000.00 2000.00     3",
    ]
    assert lines[0]["speed"] == "" and benchmark.headings(lines) == [*benchmark.HEADER, "graph"]


def allocate(megabytes):
    """Do nothing, then hold memory for a moment."""
    return lambda: None, lambda: torch.ones(megabytes, 2**18)


def test_methods_that_disagree_are_not_timed(benchmark):
    with pytest.raises(AssertionError, match="peer and torch differ"):
        benchmarks.ops._require_equal({"torch": torch.zeros(2), "peer": torch.ones(2)})


def test_what_cannot_be_measured_is_named_after_what_can(benchmark, monkeypatch, tmp_path):
    def refuse(rounds):
        raise PccloraError("timm is not installed")

    monkeypatch.setitem(benchmark.GROUPS, "image", refuse)
    table = tmp_path / "table.csv"
    words = ["benchmark.py", "--only", "image", "ops", "--rounds", "1", "--csv", str(table)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(PccloraError, match="image was not measured: timm is not installed"):
        benchmark.main()
    assert "fps 64/8" in table.read_text()


@pytest.mark.slow
def test_import_time_is_paired(benchmark):
    alone, with_pcclora, difference = benchmarks.imports.measure(1)
    assert difference.samples[0] == with_pcclora.samples[0] - alone.samples[0]
    assert with_pcclora.samples[0] > 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the memory of a process is read on Linux only")
def test_runs_share_the_backbone(monkeypatch, tmp_path):
    """In this process: one of its own would take the full sizes."""
    runs = benchmarks.runs
    small = {"name": "point_mae", "dim": 24, "depth": 2, "heads": 2, "num_groups": 8, "group_size": 8}
    monkeypatch.setattr(runs, "MODEL", small | {"encoder_widths": [8, 16, 32]})
    monkeypatch.setattr(runs, "POINTS", 64)
    monkeypatch.setattr(runs, "RUNS", 3)
    monkeypatch.setattr(runs, "alone", lambda function, *arguments: function(*arguments))
    rows = {row.method: row for row in runs.measure(1)}
    assert list(rows) == ["one", "3 together", "3 apart", "first", "later"]
    assert all(row.minimum > 0 for row in rows.values()) and float(rows["one"].notes["held MB"]) >= 0
    together = pcclora.load_runs(runs.make_runs(tmp_path)).values()
    first, *others = (run.model.get_parameter("blocks.0.attn.qkv.weight") for run in together)
    assert {other.data_ptr() for other in others} == {first.data_ptr()}
