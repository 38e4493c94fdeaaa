"""What a run was trained and tested on is part of it: it gets the same objects back, or says what became of them."""

import json
import logging
import shutil

import numpy as np
import pytest

from pcclora.data import FolderConfig
from pcclora.engine.data_record import DataRecord, Object, unseen
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.runs.adapt import train
from pcclora.runs.evaluate import evaluate_run
from pcclora.runs.part_views import segmented_test_shapes
from pcclora.runs.reload import TrainedRun
from pcclora.runs.splits import load_splits
from pcclora.studies.seeds import resume_seeds, train_seeds
from pcclora.tasks.registry import load_run_config
from tests.interrupted import interrupted


def fill(root, *, first=0, last=8, classes=("ball", "box", "rod")):
    """Write clouds of classes that are easily told apart by their extents; a number is a file of its own content."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, last):
            points = np.random.default_rng([number, *name.encode()]).normal(size=(64, 3)) * np.roll(
                [1.0, 0.5, 0.1], label
            )
            np.save(root / name / f"{number:02d}.npy", points.astype(np.float32))


@pytest.fixture
def root(tmp_path):
    fill(tmp_path / "data")
    return tmp_path / "data"


def config(root, *overrides, task="cls"):
    data = [f"data={{name: folder, root: {root}}}", "train.epochs=2"]
    return load_run_config(f"tests/tiny/{task}.yaml", [*data, *overrides])


@pytest.fixture
def begun(root, tmp_path):
    """A run that was interrupted after its first epoch."""
    interrupted(lambda: train(config(root), tmp_path / "run"))
    return tmp_path / "run"


def resume(root, folder):
    return train(config(root), folder, resume=True)


def test_the_record_names_every_object_of_every_side(root, tmp_path):
    run = train(config(root, "selection=validation", "validation_fraction=0.3"), tmp_path / "run")
    held = json.loads((run.path / "data.json").read_text())
    assert {side: len(own["objects"]) for side, own in held["sides"].items()} == {
        "train": 12,
        "validation": 6,
        "test": 6,
    }
    names = [o[0] for own in held["sides"].values() for o in own["objects"]]
    assert sorted(names) == sorted(f"{c}/{n:02d}.npy" for c in ("ball", "box", "rod") for n in range(8))
    record = DataRecord.read(run.path / "data.json")
    assert record == DataRecord.of(load_splits(load_run_config(run.config)).sides)
    assert run.read_summary()["data_sha256"] == record.sha256


def test_files_that_came_later_are_left_out_of_the_test(root, tmp_path, caplog):
    run = train(config(root), tmp_path / "run")
    before = evaluate_run(TrainedRun(run)).summary
    fill(root, first=8, last=20)
    with caplog.at_level(logging.WARNING, "pcclora"):
        after = evaluate_run(TrainedRun(run)).summary
    assert "36 new objects (as ball/08.npy; 12 ball, 12 box, 12 rod) since it was begun, left out" in caplog.text
    assert before == after
    new = evaluate_run(TrainedRun(run), new_files=True).summary
    assert new["samples"] == {"test": 36} and new["data"] == "folder, new files"


def test_new_files_are_those_of_new_content_under_a_new_name(root, tmp_path):
    run = train(config(root), tmp_path / "run")
    with pytest.raises(PccloraError, match="every object there is was seen"):
        evaluate_run(TrainedRun(run), new_files=True)
    shutil.copy(root / "ball" / "00.npy", root / "ball" / "copy.npy")
    fill(root, first=30, last=31)
    assert evaluate_run(TrainedRun(run), new_files=True).summary["samples"] == {"test": 3}
    fill(root, first=0, last=2, classes=("cube",))
    with pytest.raises(PccloraError, match="of the classes cube, which the run does not have"):
        evaluate_run(TrainedRun(run), new_files=True)
    assert evaluate_run(TrainedRun(run)).summary["metrics"] == run.read_summary()["metrics"], (
        "another class changes nothing"
    )


def test_a_changed_test_file_is_refused_and_a_changed_training_file_is_not_looked_at(root, tmp_path):
    run = train(config(root), tmp_path / "run")
    record = DataRecord.read(run.path / "data.json")
    np.save(root / record.sides["train"][0].name, np.zeros((64, 3)) + np.eye(64, 3))
    assert evaluate_run(TrainedRun(run)).summary["metrics"] == run.read_summary()["metrics"]
    np.save(root / record.sides["test"][0].name, np.ones((64, 3)) + np.eye(64, 3))
    (root / record.sides["test"][1].name).unlink()
    with pytest.raises(PccloraError, match=r"1 changed \(as .*\), 1 gone \(as"):
        evaluate_run(TrainedRun(run))


def test_other_data_that_hold_training_objects_are_said(root, tmp_path, caplog):
    run = train(config(root), tmp_path / "run")
    shutil.copytree(root, tmp_path / "other")
    with caplog.at_level(logging.WARNING, "pcclora"):
        evaluate_run(TrainedRun(run), overrides=[f"data.root={tmp_path / 'other'}", "data.split_seed=7"])
    assert "of the 6 objects tested on are, byte for byte, ones that are trained on" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "pcclora"):
        evaluate_run(TrainedRun(run), overrides=[f"data.root={tmp_path / 'other'}"])
    assert not caplog.text


@pytest.mark.parametrize(
    "words", [["data.up=z"], ["data.points=32", "data.normalize=false"], ["data.root=data/../data"]]
)
def test_the_runs_own_objects_are_tested_however_they_are_read(words, root, tmp_path, caplog, monkeypatch):
    run = train(config(root), tmp_path / "run")
    fill(root, first=8, last=20)
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING, "pcclora"):
        summary = evaluate_run(TrainedRun(run), overrides=words).summary
    assert summary["data_sha256"]["test"] == run.read_summary()["data_sha256"]["test"]
    assert "36 new objects" in caplog.text


def test_a_folder_that_has_moved_and_grown_gives_the_runs_own_objects(root, tmp_path, caplog):
    run = train(config(root), tmp_path / "run")
    root.rename(tmp_path / "moved")
    words = [f"data.root={tmp_path / 'moved'}"]
    fill(tmp_path / "moved", first=8, last=20)
    with caplog.at_level(logging.WARNING, "pcclora"):
        assert evaluate_run(TrainedRun(run), overrides=words).summary["metrics"] == run.read_summary()["metrics"]
    assert "36 new objects" in caplog.text and "byte for byte" not in caplog.text
    fill(tmp_path / "other", first=30, last=34)
    assert evaluate_run(TrainedRun(run), overrides=[f"data.root={tmp_path / 'other'}"]).summary["samples"] == {
        "test": 3
    }


def test_a_resumed_run_goes_on_with_its_own_objects(root, begun, tmp_path, caplog):
    shutil.copytree(root, tmp_path / "kept")
    whole = train(config(tmp_path / "kept"), tmp_path / "whole")
    fill(root, first=8, last=20)
    fill(root, classes=("another",))
    with caplog.at_level(logging.WARNING, "pcclora"):
        run = resume(root, begun)
    assert "44 new objects" in caplog.text
    assert run.metrics.read_bytes() == whole.metrics.read_bytes()
    assert run.predictions.read_bytes() == whole.predictions.read_bytes()
    assert run.read_summary()["classes"] == ["ball", "box", "rod"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: (r / "ball").rename(r / "zball"), "begun with the classes ball, box, rod; ball is gone, zball new"),
        (lambda r: (r / "ball" / "00.npy").unlink(), r"1 gone \(as ball/00.npy\)"),
        (lambda r: np.save(r / "rod" / "03.npy", np.eye(64, 3)), r"1 changed \(as rod/03.npy\)"),
        (lambda r: (r / "box" / "01.npy").rename(r / "box" / "renamed.npy"), "moved or renamed .*now box/renamed.npy"),
        (
            lambda r: (r / "box" / "01.npy").rename(r / "rod" / "b.npy"),
            "moved or renamed .as box/01.npy, now rod/b.npy",
        ),
    ],
)
def test_a_resume_on_other_data_is_refused(root, begun, change, words):
    change(root)
    with pytest.raises(PccloraError, match=words):
        resume(root, begun)


def test_another_seed_is_trained_on_the_same_data(root, tmp_path):
    train_seeds(config(root), tmp_path / "seeds", seeds=[0])
    fill(root, first=8, last=9)
    with pytest.raises(PccloraError, match="3 new"):
        resume_seeds(tmp_path / "seeds", seeds=[1])
    for name in ("ball", "box", "rod"):
        (root / name / "08.npy").unlink()
    assert resume_seeds(tmp_path / "seeds", seeds=[1]).complete


def test_seeds_that_validate_on_other_objects_are_of_the_same_data(root, tmp_path):
    run = config(root, "selection=validation", "validation_fraction=0.3")
    train_seeds(run, tmp_path / "seeds", seeds=[0, 1])
    one, other = (DataRecord.read(tmp_path / "seeds" / f"seed_{n}" / "data.json") for n in (0, 1))
    assert one.sha256["validation"] != other.sha256["validation"] and one.sha256["test"] == other.sha256["test"]


def test_a_run_of_an_earlier_version_is_evaluated_and_said(root, tmp_path, caplog):
    run = train(config(root), tmp_path / "run")
    (run.path / "data.json").unlink()
    with caplog.at_level(logging.WARNING, "pcclora"):
        assert evaluate_run(TrainedRun(run)).summary["metrics"] == run.read_summary()["metrics"]
    assert "an earlier version wrote no data.json" in caplog.text
    with pytest.raises(PccloraError, match="has no data.json"):
        evaluate_run(TrainedRun(run), new_files=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:100],
        lambda text: text.replace("ball/00", "ball/99"),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: "[]",
        lambda text: '{"format": 1}',
        lambda text: '{"format": 1, "classes": 3, "parts": null, "sides": {}}',
        lambda text: '{"format": 1, "classes": [], "parts": [3], "sides": {"train": []}}',
    ],
)
def test_a_damaged_record_is_named(root, tmp_path, damage):
    record = DataRecord.of(load_splits(config(root)).sides)
    record.write(tmp_path / "data.json")
    assert DataRecord.read(tmp_path / "data.json") == record
    (tmp_path / "data.json").write_text(damage((tmp_path / "data.json").read_text()))
    with pytest.raises(PccloraError, match=r"data\.json"):
        DataRecord.read(tmp_path / "data.json")


def test_the_pictures_of_a_part_run_show_its_own_shapes(tmp_path):
    root = tmp_path / "data"
    for number in range(10):
        write_labelled(root / "a", number)
    (root / "parts.yaml").write_text("a: [left, right]\n")
    run = train(config(root, f"data={{name: part_folder, root: {root}}}", task="partseg"), tmp_path / "run")
    before = segmented_test_shapes(TrainedRun(run))
    for number in range(10, 40):
        write_labelled(root / "a", number)
    after = segmented_test_shapes(TrainedRun(run))
    assert [shape.title for shape in after] == [shape.title for shape in before]
    assert all(np.array_equal(a.points, b.points) for a, b in zip(after, before, strict=True))


def write_labelled(folder, number):
    folder.mkdir(parents=True, exist_ok=True)
    points = np.random.default_rng(number).normal(size=(80, 3))
    np.savetxt(folder / f"{number}.txt", np.c_[points, points[:, 0] > 0])


def test_one_class_and_a_class_without_a_test_object_are_said(tmp_path, caplog):
    fill(tmp_path / "one", classes=("ball",))
    with caplog.at_level(logging.WARNING, "pcclora"):
        load_splits(config(tmp_path / "one"))
    assert "all 6 training objects are of one class: whatever is answered is right" in caplog.text
    fill(tmp_path / "two")
    fill(tmp_path / "two", last=1, classes=("single",))
    caplog.clear()
    with caplog.at_level(logging.WARNING, "pcclora"):
        load_splits(config(tmp_path / "two"))
    assert "no test object of single" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        {"name": "procedural", "train": 20, "test": 9, "points": 32},
        {"name": "procedural_images", "train": 20, "test": 9},
        {"name": "digits", "classes": "low"},
    ],
)
def test_data_that_are_no_files_are_the_same_each_time(data):
    config_class = DATASETS.get(data["name"]).config
    made = [
        DataRecord.of(
            {"test": DATASETS.build(config_class(**{k: v for k, v in own.items() if k != "name"}), split="test")}
        )
        for own in (data, data, data | ({"train": 30} if "train" in data else {}))
    ]
    assert made[0] == made[1] == made[2]
    objects = made[0].sides["test"]
    assert len({o.name for o in objects}) == len(objects)


def test_the_same_files_elsewhere_have_the_same_names(root, tmp_path):
    shutil.copytree(root, tmp_path / "moved")
    here, there = (DATASETS.build(FolderConfig(root=str(r)), split="test") for r in (root, tmp_path / "moved"))
    assert DataRecord.of({"test": here}) == DataRecord.of({"test": there})


def test_a_view_gives_the_labels_of_the_run(root):
    train_set = DATASETS.build(FolderConfig(root=str(root)), split="train")
    now = DataRecord.of({"train": train_set})
    then = DataRecord(("rod", "ball", "box"), None, {"train": (Object("x", "rod", "0"),)})
    view = unseen(then, now, {"train": train_set}, place="run")
    assert [view.class_names[view[i].label] for i in range(len(view))] == [
        train_set.class_names[label] for label in train_set.labels
    ]
    assert view.labels.tolist() == [view[i].label for i in range(len(view))]
