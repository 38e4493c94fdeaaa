"""Runs that read colours and normals: learnt from, resumed, predicted, evaluated, packed and exported with them."""

import json

import numpy as np
import pytest
import torch

import pcclora
from pcclora.config import load_config
from pcclora.engine import checkpoint as checkpoints
from pcclora.engine.environment import make_accelerator
from pcclora.errors import PccloraError
from pcclora.runs.adapt import train
from pcclora.runs.evaluate import evaluate_run
from pcclora.runs.export.folder import export_run
from pcclora.runs.prepare import prepare
from pcclora.runs.robustness import Trial
from pcclora.runs.splits import load_splits
from pcclora.studies.fewshot.settings import load_fewshot
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import PretrainRun
from tests.runs.export.test_folder import run_example, top3
from tests.runs.test_adapt import assert_equal
from tests.tools.test_tools import TINY, call

SPHERE = np.random.default_rng(0).normal(size=(30, 200, 3))
SPHERE /= np.linalg.norm(SPHERE, axis=2, keepdims=True)
FEATURES = ["data.features=[rgb,normal]", "train.batch_size=4", "augmentation=scan_st"]
EPOCHS = 6


def write(path, cloud, *, red, label=None, up="y"):
    """One sphere, red or blue, with the parts that ``label`` says."""
    colors = np.tile([230, 20, 20] if red else [20, 20, 230], (len(cloud), 1)).astype(np.uint8)
    rows = cloud[:, [0, 2, 1]] * [1, -1, 1] if up == "z" else cloud
    names = ["x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", *(["label"] if label is not None else [])]
    kinds = ["double"] * 6 + ["uchar"] * 3 + ["int"] * (label is not None)
    head = "".join(f"property {kind} {name}\n" for kind, name in zip(kinds, names, strict=True))
    table = np.column_stack([rows, rows, colors, *([label] if label is not None else [])])
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"ply\nformat ascii 1.0\nelement vertex {len(cloud)}\n{head}end_header\n"
    path.write_text(head + "".join(f"{' '.join(f'{v:.17g}' for v in row)}\n" for row in table))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Spheres that only their colour tells apart; the parts of a sphere are its upper and lower half."""
    root = tmp_path_factory.mktemp("spheres")
    for index, cloud in enumerate(SPHERE):
        write(root / "cls" / ("red" if index % 2 else "blue") / f"{index}.ply", cloud, red=bool(index % 2))
        write(root / "parts" / "ball" / f"{index}.ply", cloud, red=True, label=(cloud[:, 1] > 0).astype(int))
    (root / "parts" / "parts.yaml").write_text("ball: [low, high]\n")
    return root


def tiny(data, task, *words):
    names = {"cls": ("folder", "cls"), "partseg": ("part_folder", "parts")}
    words = [
        f"data={names[task][0]}",
        f"data.root={data / names[task][1]}",
        f"train.epochs={EPOCHS}",
        *FEATURES,
        *words,
    ]
    return load_run_config(TINY / f"{task}.yaml", words)


@pytest.fixture(scope="module")
def folders(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {task: train(tiny(data, task, "train.lr=0.02"), root / task).path for task in ("cls", "partseg")}


@pytest.fixture(scope="module")
def runs(folders):
    return {task: pcclora.load_run(folder) for task, folder in folders.items()}


def arrays(cloud, red=1.0):
    """What is in a file, as an array of the run's own columns."""
    colors = np.tile(np.array([230, 20, 20] if red else [20, 20, 230]) / 255, (len(cloud), 1))
    return np.c_[cloud, colors, cloud]


def test_what_only_colour_tells_is_learnt_and_not_without(data, folders, tmp_path):
    summary = json.loads((folders["cls"] / "summary.json").read_text())
    assert summary["metrics"]["accuracy"] == 1
    assert summary["protocol"]["features"] == ["rgb", "normal"]
    assert summary["parameters"]["channels"] == 9 * 32 + 32 + 32 * 64 + 64 + 64 * 24 + 24
    blind = train(tiny(data, "cls", "train.lr=0.02", "data.features=[]"), tmp_path / "run").read_summary()
    assert blind["metrics"]["accuracy"] < 0.9 and "channels" not in blind["parameters"]
    own = summary["parameters"]
    assert own["trained"] - blind["parameters"]["trained"] == own["channels"]


@pytest.mark.parametrize("task", ["cls", "partseg"])
def test_before_the_first_step_a_run_is_the_one_without_bit_for_bit(data, task):
    """Its answers, its training batches and its first loss: only the branch is more."""
    found = []
    for words in ([], ["data.features=[]"]):
        config = tiny(data, task, *words)
        run = prepare(config, make_accelerator(config.train), load_splits(config))
        run.watched(run.model)
        answers, batch = run.watched.last, next(iter(run.job.loader))
        torch.manual_seed(0)
        loss = run.job.loss(run.model.train(), batch)["loss"]
        scores = answers.logits if task == "cls" else torch.cat(answers.scores)
        found.append((scores, batch["points"][..., :3], batch["index"], loss))
    assert all(map(torch.equal, *found)) and found[0][0].any()


@pytest.mark.parametrize("task", ["cls", "partseg"])
def test_an_interrupted_run_goes_on_exactly(data, tmp_path, monkeypatch, task):
    config = tiny(data, task, "train.epochs=2")
    whole, real, saved = train(config, tmp_path / "whole"), checkpoints.save, []

    def save_once(path, checkpoint):
        if saved:
            raise KeyboardInterrupt
        saved.append(real(path, checkpoint))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "save", save_once)
        train(config, tmp_path / "cut")
    assert_equal(whole, train(config, tmp_path / "cut", resume=True))


def test_files_arrays_and_turned_files_are_predicted_alike(runs, tmp_path):
    cloud = SPHERE[0]
    for red, name in ((True, "red"), (False, "blue")):
        upright = write(tmp_path / "y.ply", cloud, red=red)
        turned = write(tmp_path / "z.ply", cloud, red=red, up="z")
        found = [
            runs["cls"].predict(upright),
            runs["cls"].predict(turned, up="z"),
            runs["cls"].predict(arrays(cloud, red)),
        ]
        assert [one.label for one in found] == [name] * 3
        np.testing.assert_array_equal(found[0].probabilities, found[1].probabilities)
        np.testing.assert_allclose(found[0].probabilities, found[2].probabilities, atol=1e-6)
    parts = [runs["partseg"].predict(given, **how) for given, how in ((upright, {}), (turned, {"up": "z"}))]
    np.testing.assert_array_equal(parts[0].prediction, parts[1].prediction)
    both = runs["cls"].predict(upright, then=runs["partseg"])
    assert both.label == "blue" and both.parts is None  # no category of that name


def test_what_is_missing_is_named(runs, folders, tmp_path, capsys):
    np.save(tmp_path / "bare.npy", SPHERE[0])
    assert call("predict", tmp_path / "bare.npy", "--run", folders["cls"]) == 2
    assert "bare.npy: has no rgb (red green blue), which data.features asks for" in capsys.readouterr().err
    with pytest.raises(PccloraError, match=r"points 0: shape \(200, 3\).*\(N, 9\) \(x y z and rgb and normal\)"):
        runs["cls"].predict(SPHERE[0])
    with pytest.raises(PccloraError, match=r"points 0: its rgb goes from 20 to 230; \[0, 1\] is expected"):
        runs["cls"].predict(arrays(SPHERE[0]) * [1, 1, 1, 255, 255, 255, 1, 1, 1])


def test_it_is_evaluated_with_its_own_features_and_no_others(runs, data):
    result = evaluate_run(runs["cls"])
    assert result.summary["metrics"] == runs["cls"].summary["metrics"]
    assert evaluate_run(runs["partseg"]).summary["metrics"] == runs["partseg"].summary["metrics"]
    for words in (["data.features=[]"], ["data.features=[normal,rgb]"], ["data=procedural"]):
        with pytest.raises(PccloraError, match=r"data\.features is \[.*was trained with \[rgb, normal\]"):
            evaluate_run(runs["cls"], overrides=words)
    with pytest.raises(PccloraError, match="corruptions: move points; what becomes of their rgb, normal is not"):
        evaluate_run(runs["cls"], corruptions=Trial())


def test_a_pack_and_a_merged_run_answer_as_the_run(folders, runs, tmp_path):
    expected = runs["cls"].predict(arrays(SPHERE[3])).probabilities
    packed = pcclora.load_run(runs["cls"].pack(tmp_path / "run.pcclora"))
    np.testing.assert_array_equal(packed.predict(arrays(SPHERE[3])).probabilities, expected)
    merged = pcclora.load_run(folders["cls"]).merge()
    np.testing.assert_allclose(merged.predict(arrays(SPHERE[3])).probabilities, expected, atol=1e-5)


@pytest.mark.slow
def test_an_exported_run_takes_the_same_columns(runs, tmp_path):
    for task, words in (("cls", []), ("partseg", ["ball"])):
        folder = export_run(runs[task], "pt2", tmp_path / task).folder
        card = json.loads((folder / "model.json").read_text())
        assert card["features"] == {"rgb": [3, 6], "normal": [6, 9]}
        assert card["inputs"]["points"]["shape"] == ["batch", "points", 9]
        lying = SPHERE[1][:, [0, 2, 1]] * [1, -1, 1]  # z is up
        rows = np.c_[lying, arrays(SPHERE[1])[:, 3:6], lying]
        np.save(tmp_path / "scan.npy", rows)
        found = run_example(folder, tmp_path / "scan.npy", *words, "z", target="pt2")
        expected = runs[task].predict(rows, up="z")
        if task == "cls":
            assert found == top3(expected)
        else:
            np.testing.assert_array_equal(np.loadtxt(folder / "parts.txt", dtype=int), expected.prediction)


def test_what_has_no_place_for_features_refuses_them_by_name(data):
    words = ["data=folder", f"data.root={data / 'cls'}", "data.features=[rgb]"]
    with pytest.raises(PccloraError, match=r"data\.features: pre-training knows places alone"):
        load_config(PretrainRun, file=TINY / "pretrain.yaml", overrides=words)
    with pytest.raises(PccloraError, match="PointNet knows the places of points alone"):
        train(tiny(data, "cls", "model=pointnet"), data / "never")
    for more, why in ((["classifier=nearest"], "frozen features"), (["episodes=x"], "files of episodes")):
        with pytest.raises(PccloraError, match=f"{why} .* places alone"):
            load_fewshot(None, [*words, *more])
    frozen = tiny(data, "cls", "adapter.modules_to_save=[head]")
    with pytest.raises(PccloraError, match=r"modules_to_save is \[cls_head_finetune\], and data\.features is read by"):
        train(frozen, data / "never")
    assert not (data / "never").exists()
