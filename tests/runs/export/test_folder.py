"""A run exported: what lies in the folder, that it computes what the run does, and what keeps it from being there."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcclora.data import ProceduralConfig, ProceduralDataset
from pcclora.errors import PccloraError
from pcclora.runs.export import targets
from pcclora.runs.export.folder import export_run
from pcclora.runs.export.network import network_of
from pcclora.runs.export.samples import samples_of
from pcclora.runs.export.targets import TARGETS
from pcclora.runs.predict import ClassPrediction
from tests.tools.test_command import pcclora

ALONE = """
import runpy, sys
sys.modules |= dict.fromkeys({absent!r})  # an import of one of these fails now
sys.argv[:] = {words!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def call_example(folder: Path, *words: object, target: str) -> subprocess.CompletedProcess[str]:
    """Run the example in a process that has neither pcclora nor, for ONNX, torch."""
    absent = ["pcclora", *(["torch"] if target == "onnx" else [])]
    program = ALONE.format(absent=absent, words=[str(folder / "example.py"), *map(str, words)])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, check=False)


def run_example(folder: Path, *words: object, target: str) -> list[str]:
    """The lines that it prints."""
    done = call_example(folder, *words, target=target)
    assert not done.returncode and not done.stderr, done.stderr
    return done.stdout.splitlines()


def top3(found: ClassPrediction) -> list[str]:
    """What an example prints of a prediction."""
    best = zip(sorted(found.probabilities, reverse=True), found.classes[:3], strict=False)
    return [f"{p:.4f}  {name}" for p, name in best]


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """``exported(task, target)`` -> the folder, made once."""
    made: dict[tuple[str, str], Path] = {}

    def export(task: str, target: str) -> Path:
        if (task, target) not in made:
            folder = tmp_path_factory.mktemp("exported") / f"{task}_{target}"
            made[task, target] = export_run(trained(task), target, folder).folder
        return made[task, target]

    return export


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    """A scan as a scanner writes it: far from the origin, in its own units, z up."""
    x, y, z = ProceduralDataset(ProceduralConfig(points=300), split="test")[5].points[:, :3].astype(np.float64).T
    file = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(file, 7 * np.stack([x, -z, y], axis=1) + 100)
    return file


@pytest.mark.slow
def test_a_folder_says_all_that_a_program_must_know(trained, exported):
    folder = exported("cls", "pt2")
    card = json.loads((folder / "model.json").read_text())
    assert sorted(file.name for file in folder.iterdir()) == ["example.py", "model.json", "model.pt2"]
    assert card["classes"] == list(trained("cls").labels.class_names)
    assert card["inputs"] == {"points": {"dtype": "float32", "shape": ["batch", "points", 3]}}
    assert card["outputs"]["logits"]["shape"] == ["batch", 16]
    assert (card["points"], card["normalize"], card["up"]) == (64, True, "y")
    assert card["adapter"] == {"name": "clora", "merged": True}
    assert 0 <= card["check"]["largest_difference"] < 1e-5 and card["check"]["samples"] == "procedural, split test"
    assert card["versions"]["torch"] == torch.__version__


@pytest.mark.slow
def test_a_class_by_the_example_is_that_of_predict(trained, exported, scan):
    expected = trained("cls").predict(scan, up="z")
    assert run_example(exported("cls", "pt2"), scan, "z", target="pt2") == top3(expected)


@pytest.mark.slow
def test_an_example_says_what_it_cannot_take(exported, scan, tmp_path):
    ply = tmp_path / "scan.ply"
    ply.write_bytes(b"ply\nformat binary_little_endian 1.0\nend_header\n\xff\x00")
    for words, said in {
        (ply, "chair"): f"{ply}: neither .npy nor columns of numbers; write the points of another format by np.save",
        (scan, "chai"): "'chai' is none of ",
        (scan, "chair", "w"): "'w' is none of x, y, z",
    }.items():
        done = call_example(exported("partseg", "pt2"), *words, target="pt2")
        assert done.returncode == 1 and done.stderr.startswith(said) and done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_example_answers_as_predict(trained, exported, scan, tmp_path, target):
    classes = trained("cls").predict(scan, up="z")
    assert run_example(exported("cls", target), scan, "z", target=target) == top3(classes)
    cloud = trained("partseg").predict(scan, category="chair", up="z")
    run_example(exported("partseg", target), scan, "chair", "z", target=target)
    parts = np.loadtxt(exported("partseg", target) / "parts.txt", dtype=int)
    assert (np.array(cloud.parts)[parts] == cloud.prediction).all() and len(parts) == 300
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 31, 3), np.uint8)).save(photo)
    classes = trained("image").predict(photo)
    assert run_example(exported("image", target), photo, target=target) == top3(classes)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["cls", "partseg", "image"])
def test_onnx_names_its_sizes_and_passes_its_own_checker(exported, task):
    onnx = pytest.importorskip("onnx", reason="pip install pcclora[export]")
    model = onnx.load(exported(task, "onnx") / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    card = json.loads((exported(task, "onnx") / "model.json").read_text())
    assert {own.domain for own in model.opset_import} == {""} and model.opset_import[0].version == 20
    shapes = {
        own.name: [size.dim_param or size.dim_value for size in own.type.tensor_type.shape.dim]
        for own in model.graph.input
    }
    assert shapes == {name: own["shape"] for name, own in card["inputs"].items()}


def test_batches_for_comparison_differ_in_every_size_that_may_vary(trained):
    traced, longer, single = samples_of(trained("cls")).batches
    assert (traced[0].shape, longer[0].shape, single[0].shape) == ((2, 64, 3), (8, 71, 3), (1, 64, 3))


@pytest.mark.parametrize("wrong", [2e-4, float("nan")])
def test_a_model_that_differs_is_not_left_there(trained, tmp_path, monkeypatch, wrong):
    eager = network_of(trained("cls").model, "cls", points=64)
    monkeypatch.setattr(TARGETS["pt2"], "write", lambda network, inputs, path: path.write_bytes(b""))
    monkeypatch.setattr(TARGETS["pt2"], "open", lambda path: lambda inputs: eager(inputs) + wrong)
    with pytest.raises(PccloraError, match="differs by .* from eager, more than 1e-04 .*nothing was written"):
        export_run(trained("cls"), "pt2", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_said_in_one_line(trained, tmp_path, capsys, monkeypatch):
    run = trained("cls").path

    def refused(*words: object) -> str:
        assert pcclora("export", *words) == 2
        return capsys.readouterr().err

    assert "--to onix: no such target; did you mean 'onnx'?" in refused("--run", run, "--to", "onix", tmp_path / "out")
    assert "not a run folder" in refused("--run", tmp_path, "--to", "pt2", tmp_path / "out")
    assert "is there already and is never overwritten" in refused("--run", run, "--to", "pt2", run)
    monkeypatch.setattr(targets, "find_spec", lambda name: None if name == "onnxruntime" else object())
    missing = refused("--run", run, "--to", "onnx", tmp_path / "out")
    assert "--to onnx: onnxruntime not installed: pip install 'pcclora[export]'" in missing
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_not_finished_is_refused(trained, tmp_path):
    run, unfinished = trained("cls").path, tmp_path / "run"
    unfinished.mkdir()
    (unfinished / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    assert pcclora("export", "--run", unfinished, "--to", "pt2", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()
