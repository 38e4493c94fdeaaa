"""A finished run as one object: what it takes and answers, that it keeps its model, that threads may share it."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import pcclora
from pcclora.data import ProceduralConfig, ProceduralDataset, read_image
from pcclora.tasks.registry import load_run_config
from tests.runs.conftest import trained
from tests.tools.test_tools import TINY, call

OBJECTS = ProceduralDataset(ProceduralConfig(points=300), split="test")
CLOUDS = [OBJECTS[index].points.astype(np.float64) for index in range(6)]


@pytest.fixture(scope="module")
def runs(folders):
    return {task: pcclora.load_run(folder) for task, folder in folders.items()}


def same(first, second):
    return first.classes == second.classes and np.array_equal(first.probabilities, second.probabilities)


def test_a_run_says_what_it_is(runs, folders):
    for task, run in runs.items():
        assert (run.task, run.path, str(run.device)) == (task, folders[task], "cpu")
        assert run.classes == OBJECTS.class_names
    assert runs["cls"].parts == {}
    assert runs["partseg"].parts["chair"] == ("chair: back", "chair: seat", "chair: leg", "chair: arm")


def test_points_are_predicted_as_the_file_that_holds_them(runs, tmp_path):
    for index, cloud in enumerate(CLOUDS):
        np.save(tmp_path / f"{index}.npy", cloud)
    files = sorted(tmp_path.iterdir())
    run = runs["cls"]
    expected = run.predict(tmp_path)
    assert [one.source for one in expected] == list(map(str, files))
    for given in (files, list(map(str, files)), CLOUDS, list(map(torch.from_numpy, CLOUDS)), tuple(CLOUDS)):
        assert all(map(same, run.predict(given), expected))
    mixed = run.predict([tmp_path, CLOUDS[0], torch.from_numpy(CLOUDS[1])])
    assert [one.source for one in mixed[6:]] == ["points 1", "points 2"] and len(mixed) == 8
    assert run.predict([]) == []


def test_a_single_thing_has_a_single_answer_that_is_that_of_the_list(runs):
    (listed,), alone = runs["cls"].predict(CLOUDS[:1]), runs["cls"].predict(CLOUDS[0])
    assert same(alone, listed) and alone.source == "points 0"
    assert alone.label == alone.classes[0] and alone.confidence == alone.probabilities.max()
    np.testing.assert_allclose(alone.probabilities.sum(), 1, atol=1e-6)


def test_the_model_itself_agrees(runs):
    """Independently of loaders and evaluators: normalise, choose the farthest points, softmax."""
    cloud = CLOUDS[0] - CLOUDS[0].mean(axis=0)
    cloud = torch.tensor(cloud / np.linalg.norm(cloud, axis=1).max(), dtype=torch.float32)[None]
    points, _ = pcclora.ops.sample_farthest_points(cloud, K=64)
    with torch.no_grad():
        expected = runs["cls"].model(points).softmax(dim=1)[0]
    found = runs["cls"].predict(CLOUDS[0])
    assert found.label == OBJECTS.class_names[int(expected.argmax())]
    np.testing.assert_allclose(found.probabilities, expected.sort(descending=True).values, atol=1e-5)


def test_top_and_batch_size(runs):
    run = runs["cls"]
    expected = run.predict(CLOUDS)
    for one, whole in zip(run.predict(CLOUDS, top=2, batch_size=2), expected, strict=True):
        assert one.classes == whole.classes[:2]
        np.testing.assert_allclose(one.probabilities, whole.probabilities[:2], atol=1e-5)
    assert len(run.predict(CLOUDS[0], top=99).classes) == 16


def test_parts_come_in_the_order_of_the_points_wherever_a_scan_stands_in_the_list(runs):
    run = runs["partseg"]
    listed = run.predict(CLOUDS, category="chair")
    for cloud, found in zip(CLOUDS, listed, strict=True):
        alone = run.predict(cloud, category="chair")
        np.testing.assert_array_equal(found.points, cloud)
        np.testing.assert_array_equal(found.probabilities, alone.probabilities)
        assert found.prediction.shape == found.confidence.shape == (300,)
    each = run.predict(CLOUDS[:2], category=["lamp", "chair"])
    assert [one.category for one in each] == ["lamp", "chair"] and set(each[0].prediction) <= set(each[0].parts)
    np.testing.assert_array_equal(each[1].probabilities, listed[1].probabilities)


def test_the_class_is_the_category_of_the_parts(runs, tmp_path, capsys):
    listed = runs["cls"].predict(CLOUDS, then=runs["partseg"])
    for one, cloud, alone in zip(listed, CLOUDS, runs["cls"].predict(CLOUDS), strict=True):
        assert same(one, alone) and one.parts.category == one.label and one.parts.source == one.source
        expected = runs["partseg"].predict(cloud, category=one.label)
        np.testing.assert_array_equal(one.parts.probabilities, expected.probabilities)
    np.save(tmp_path / "a.npy", CLOUDS[0])
    words = ["predict", tmp_path / "a.npy", "--run", runs["cls"].path, "--then", runs["partseg"].path]
    assert call(*words, "--json", "--ply", tmp_path / "a.ply") == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    assert found["category"] == listed[0].label == next(iter(found["classes"])) and (tmp_path / "a.ply").is_file()
    assert sum(part["points"] for part in found["parts"].values()) == 300
    assert call(*words) == 0
    table = capsys.readouterr().out
    assert f"{listed[0].label}, 300 points" in table and "of the points, mean probability" in table


def test_a_class_without_such_a_category_is_said_and_has_no_parts(folders, runs, tmp_path, caplog, capsys):
    other = shutil.copytree(folders["cls"], tmp_path / "run")
    summary = json.loads((other / "summary.json").read_text())
    best = pcclora.load_run(other).predict(CLOUDS[0]).label
    summary["classes"] = ["vase" if name == best else name for name in summary["classes"]]
    (other / "summary.json").write_text(json.dumps(summary))
    found = pcclora.load_run(other).predict(CLOUDS[0], then=runs["partseg"])
    assert (found.label, found.parts) == ("vase", None)
    assert caplog.messages == [f"points 0: 'vase' is no category of {folders['partseg']}: no parts"]
    caplog.clear()
    assert [one.label for one in pcclora.load_run(other).predict([CLOUDS[0]] * 3, then=runs["partseg"])] == ["vase"] * 3
    assert caplog.messages == [f"points 0 and 2 more: 'vase' is no category of {folders['partseg']}: no parts"]
    np.save(tmp_path / "a.npy", CLOUDS[0])
    words = ["predict", tmp_path / "a.npy", "--run", other, "--then", folders["partseg"]]
    assert call(*words) == 0
    assert "vase" in (captured := capsys.readouterr()).out and "a.npy: 'vase' is no category" in captured.err
    assert call(*words, "--html", tmp_path / "a.html") == 2
    assert "so there are no parts to show" in capsys.readouterr().err and not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [("cls", "cls", "then: .* its task is 'cls'; a part"), ("partseg", "cls", "then: .* predicts parts; this is for")],
)
def test_runs_in_another_order_are_refused(runs, first, second, words):
    with pytest.raises(pcclora.PccloraError, match=words):
        runs[first].predict(CLOUDS[0], then=runs[second])


def test_photographs_come_as_pixels_too(tmp_path):
    run = pcclora.load_run(trained(tmp_path, "image"))
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert same(run.predict(tmp_path / "a.png"), run.predict(read_image(tmp_path / "a.png")))
    with pytest.raises(pcclora.PccloraError, match=r"^image 0: shape \(20, 30\) of uint8; RGB bytes"):
        run.predict(pixels[..., 0])
    with pytest.raises(pcclora.PccloraError, match="predicts photographs"):
        run.predict(pixels, category="chair")


def test_a_model_is_built_once_and_the_random_state_of_the_caller_stays(folders):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    run = pcclora.load_run(folders["cls"])
    model = run.model
    run.predict(CLOUDS[0])
    assert torch.equal(torch.rand(1), expected) and run.model is model and not model.training


def test_threads_get_what_one_gets(runs):
    def ask(number):
        if number % 2:
            return runs["cls"].predict(CLOUDS[number % 6])
        return runs["partseg"].predict(CLOUDS[number % 6], category="chair")

    expected = [ask(number) for number in range(6)]
    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(ask, range(24))):
            np.testing.assert_array_equal(found.probabilities, expected[number % 6].probabilities)


def test_a_run_is_predicted_where_it_was_moved_to(folders, runs, tmp_path):
    moved = shutil.copytree(folders["cls"], tmp_path / "another name")
    found = pcclora.load_run(moved)
    assert same(found.predict(CLOUDS[0]), runs["cls"].predict(CLOUDS[0])) and found.path == moved


def test_a_base_that_moved_is_named_and_found(tmp_path, monkeypatch):
    base, run = tmp_path / "base.pth", tmp_path / "runs"
    model = load_run_config(TINY / "cls.yaml").model
    torch.manual_seed(3)
    torch.save(pcclora.registry.MODELS.build(model, task="cls", num_classes=5).state_dict(), base)
    monkeypatch.chdir(tmp_path)  # a run may be begun with a relative path
    folder = trained(run, "cls", "checkpoint=base.pth")
    monkeypatch.chdir("/")
    expected = pcclora.load_run(folder).predict(CLOUDS[0])
    base = base.rename(tmp_path / "elsewhere.pth")
    with pytest.raises(pcclora.PccloraError, match="base.pth: no such file; if it has moved, say where"):
        pcclora.load_run(folder)
    assert same(pcclora.load_run(folder, checkpoint=base).predict(CLOUDS[0]), expected)


def test_merged_it_answers_the_same(folders, runs):
    run = pcclora.load_run(folders["cls"])
    found, expected = run.merge().predict(CLOUDS), runs["cls"].predict(CLOUDS)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    with pytest.raises(pcclora.PccloraError, match="merged already"):
        run.merge()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((5, 2)), r"points 0: shape \(5, 2\) of float64; numbers \(N, 3\)"),
        (np.zeros((5, 6)), r"take the first 3: points\[:, :3\]"),
        (np.zeros((2, 5, 3)), "several clouds are a list"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.full((5, 3), "a"), "of <U1; numbers"),
        ([CLOUDS[0], np.r_[CLOUDS[1], [[0, np.inf, 0]]]], "points 1: 1 of 301 points are NaN or infinite"),
        (torch.full((4, 3), torch.nan), "4 of 4 points are NaN or infinite, the first is number 0"),
        ([CLOUDS[0].tolist()], r"points 0: list; points \(N, 3\) as an array or tensor, or a file"),
        ({}, "dict: points"),
        ("absent.ply", "absent.ply: no such file"),
    ],
)
def test_what_cannot_be_predicted_is_named(runs, given, words):
    with pytest.raises(pcclora.PccloraError, match=words):
        runs["cls"].predict(given)


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("cls", {"top": 0}, "top is 0; at least 1"),
        ("cls", {"batch_size": -1}, "batch_size is -1; at least 1"),
        ("cls", {"category": "chair"}, "category: .* predicts classes"),
        ("partseg", {"category": "chair", "top": 2}, "top: .* predicts parts"),
        ("partseg", {}, "has 16 categories; say which"),
        ("partseg", {"category": "chiar"}, "unknown category 'chiar'; did you mean 'chair'"),
        ("partseg", {"category": ["chair", "lamp"]}, "2 names for 1 objects"),
        ("cls", {"up": "w"}, "up is 'w'"),
    ],
)
def test_options_that_cannot_be_are_named(runs, task, options, words):
    with pytest.raises(pcclora.PccloraError, match=words):
        runs[task].predict(CLOUDS[0], **options)


def test_a_device_that_is_not_there_is_said_before_anything_is_built(folders, runs):
    for name in ("cuda:77", "gpu"):
        with pytest.raises(pcclora.PccloraError, match=f"device '{name}': not on this machine, which has cpu"):
            pcclora.load_run(folders["cls"], device=name)
        with pytest.raises(pcclora.PccloraError, match="not on this machine"):
            runs["cls"].to(name)
    assert runs["cls"].to("cpu") is runs["cls"]


@pytest.mark.gpu
def test_on_a_gpu_it_answers_the_same(folders, runs):
    for task, options in (("cls", {}), ("partseg", {"category": "chair"})):
        run = pcclora.load_run(folders[task], device="cuda")
        found, expected = run.predict(CLOUDS[0], **options), runs[task].predict(CLOUDS[0], **options)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
        back = run.to("cpu").predict(CLOUDS[0], **options)
        np.testing.assert_array_equal(back.probabilities, expected.probabilities)


def test_what_is_no_finished_run_is_refused(folders, tmp_path):
    with pytest.raises(pcclora.PccloraError, match="not a run folder"):
        pcclora.load_run(tmp_path)
    unfinished = shutil.copytree(folders["cls"], tmp_path / "run")
    (unfinished / "summary.json").unlink()
    with pytest.raises(pcclora.PccloraError, match="not finished; go on with it by --resume"):
        pcclora.load_run(unfinished)
    pretrained = train_pretraining(tmp_path / "pre")
    with pytest.raises(pcclora.PccloraError, match="its task is 'pretrain'"):
        pcclora.load_run(pretrained)


def train_pretraining(folder):
    from pcclora.config import load_config
    from pcclora.runs.pretrain import pretrain
    from pcclora.tasks.settings import PretrainRun

    return pretrain(load_config(PretrainRun, file=TINY / "pretrain.yaml", overrides=["train.epochs=1"]), folder).path
