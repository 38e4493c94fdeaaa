"""Single files as a user has them: in folders, with another axis up than the run's own."""

import json

import numpy as np
import pytest
from PIL import Image

from pcclora.data import ProceduralConfig, ProceduralDataset, read_scan
from pcclora.errors import PccloraError
from pcclora.runs import TrainedRun
from pcclora.runs.adapt import train
from pcclora.runs.inputs import gather
from pcclora.runs.report import class_shares
from pcclora.tasks.registry import load_run_config
from tests.tools.test_tools import TINY, call

OBJECTS = ProceduralDataset(ProceduralConfig(points=300), split="test")
WRITTEN = {"x": ([1, 0, 2], [1, -1, 1]), "y": ([0, 1, 2], [1, 1, 1]), "z": ([0, 2, 1], [1, -1, 1])}
"""Up axis of a file -> which upright coordinate stands in each column, and its sign."""


def lay_down(points, up):
    columns, signs = WRITTEN[up]
    return points[:, columns] * signs


def write_objects(folder, up, count=6):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        np.save(folder / f"{index}.npy", lay_down(OBJECTS[index].points.astype(np.float64), up))
    return sorted(folder.iterdir())


def classes(run, files, **options):
    """What a run says of each file: class -> probability."""
    return list(class_shares(TrainedRun(run).predict(files, **options)).values())


def parts(run, files, **options):
    return TrainedRun(run).predict(files, category="chair", **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(load_run_config(TINY / "cls.yaml", ["train.epochs=1"]), tmp_path_factory.mktemp("cls") / "run")


@pytest.fixture(scope="module")
def part_run(tmp_path_factory):
    return train(load_run_config(TINY / "partseg.yaml", ["train.epochs=1"]), tmp_path_factory.mktemp("parts") / "run")


@pytest.fixture(scope="module")
def z_up_run(tmp_path_factory):
    """A run on the user's own files, in which z is up."""
    root = tmp_path_factory.mktemp("scans")
    for name in ("a", "b"):
        write_objects(root / name, "z", 40)
    words = ["data=folder", f"data.root={root}", "data.up=z", "train.epochs=1", "train.batch_size=4"]
    return train(load_run_config(TINY / "cls.yaml", words), tmp_path_factory.mktemp("folder") / "run")


@pytest.mark.parametrize("up", ["x", "z"])
def test_a_file_of_another_axis_is_predicted_as_its_upright_twin_bit_for_bit(run, tmp_path, up):
    upright, turned = write_objects(tmp_path / "y", "y"), write_objects(tmp_path / up, up)
    expected = classes(run, upright)
    assert classes(run, turned, up=up) == expected
    assert classes(run, turned) != expected


@pytest.mark.parametrize("up", ["x", "z"])
def test_parts_too_and_in_the_coordinates_of_the_file(part_run, tmp_path, up):
    upright, turned = write_objects(tmp_path / "y", "y"), write_objects(tmp_path / up, up)
    expected = parts(part_run, upright)
    for path, found, twin in zip(turned, parts(part_run, turned, up=up), expected, strict=True):
        np.testing.assert_array_equal(found.probabilities, twin.probabilities)
        np.testing.assert_array_equal(found.prediction, twin.prediction)
        np.testing.assert_array_equal(found.points, read_scan(path).points)


def test_the_run_knows_the_axis_of_its_own_files(z_up_run, tmp_path):
    upright, turned = write_objects(tmp_path / "y", "y"), write_objects(tmp_path / "z", "z")
    assert load_run_config(z_up_run.config).data.up == "z"
    expected = classes(z_up_run, turned)
    assert classes(z_up_run, turned, up="z") == expected
    assert classes(z_up_run, upright, up="y") == expected


def test_evaluation_is_told_of_another_axis(z_up_run, tmp_path, capsys):
    """The same objects in y-up files have the same figures, if that is said; else it is asked for."""
    for name in ("a", "b"):
        write_objects(tmp_path / "upright" / name, "y", 40)
    words = ["evaluate", "--run", z_up_run.path]
    assert call(*words, "--output", tmp_path / "own") == 0
    assert call(*words, f"data.root={tmp_path / 'upright'}", "data.up=y", "--output", tmp_path / "said") == 0
    own, said = (json.loads((tmp_path / name / "summary.json").read_text())["metrics"] for name in ("own", "said"))
    assert own == said and "unlike the training scans" not in capsys.readouterr().err
    assert call(*words, f"data.root={tmp_path / 'upright'}") == 0
    assert "unlike the training scans" in (error := capsys.readouterr().err) and "say data.up=y" in error


def test_the_run_knows_the_columns_of_its_own_files_and_others_can_be_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for index in range(6):
            points = OBJECTS[index].points
            np.savetxt(tmp_path / "own" / name / f"{index}.txt", np.c_[np.arange(300), points], fmt="%.6f")
    np.savetxt(tmp_path / "other.txt", np.c_[points, np.ones(300)], fmt="%.6f")
    words = ["data=folder", f"data.root={tmp_path / 'own'}", "data.columns=[_,x,y,z]", "train.epochs=1"]
    run = train(load_run_config(TINY / "cls.yaml", [*words, "train.batch_size=4"]), tmp_path / "run")
    assert load_run_config(run.config).data.columns == ("_", "x", "y", "z")
    own, other = tmp_path / "own" / "a" / "5.txt", tmp_path / "other.txt"
    (expected,) = classes(run, [own])
    assert classes(run, [other], columns=["x", "y", "z", "_"]) == [expected]
    assert classes(run, [other]) != [expected]
    assert call("predict", other, "--run", run.path, "--columns", "x,y,z,_") == 0
    assert call("predict", other, "--run", run.path, "--columns", "x,y") == 2


def test_a_folder_is_all_that_can_be_read_below_it(run, tmp_path, capsys):
    files = write_objects(tmp_path / "scans" / "deep", "y", 2) + write_objects(tmp_path / "scans" / "also", "y", 1)
    for other in (".hidden.npy", "notes.md", "__MACOSX/._0.npy"):
        (tmp_path / "scans" / other).parent.mkdir(exist_ok=True)
        (tmp_path / "scans" / other).touch()
    assert [one.content for one in gather(tmp_path / "scans", images=False)[0]] == sorted(files)
    assert call("predict", tmp_path / "scans", files[0], "--run", run.path, "--json") == 0
    captured = capsys.readouterr()
    assert list(json.loads(captured.out)) == [str(file) for file in sorted(files)]
    assert "left out: " in captured.err and "1 files of other formats" in captured.err


def test_a_folder_without_a_scan_is_refused_and_says_what_was_looked_for(run, tmp_path, capsys):
    (tmp_path / "photo.jpg").touch()
    assert call("predict", tmp_path, "--run", run.path) == 2
    error = capsys.readouterr().err
    assert "no file below this folder can be read (1 files of other formats" in error and ".ply" in error


def test_all_files_that_cannot_be_read_are_named_at_once(run, part_run, tmp_path):
    files = write_objects(tmp_path, "y", 3)
    files[0].write_bytes(b"")
    files[2].write_text("no numbers")
    for predict, which in ((classes, run), (parts, part_run)):
        with pytest.raises(PccloraError, match=r"^2 of 3 files cannot be used:\n  .*0\.npy: .*\n  .*2\.npy: "):
            predict(which, files)
        with pytest.raises(PccloraError, match=r"^.*0\.npy: the file is empty"):
            predict(which, files[:2])


def test_all_photographs_that_cannot_be_read_are_named_at_once(tmp_path):
    run = train(load_run_config(TINY / "image.yaml", ["train.epochs=1"]), tmp_path / "run")
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for file in files:
        Image.new("RGB", (9, 9)).save(file)
    files[0].write_bytes(b"")
    files[2].write_bytes(b"\x89PNG\r\n")
    with pytest.raises(PccloraError, match=r"^2 of 3 files cannot be used:\n  .*a\.png: .*\n  .*c\.png: "):
        classes(run, files)


def test_pages_and_pictures_name_the_file_without_its_path(part_run, tmp_path):
    folder = tmp_path / "a colleague need not know"
    (path,) = write_objects(folder, "z", 1)
    path = path.rename(path.with_name("sc\x1ban.npy"))
    (cloud,) = parts(part_run, [path], up="z")
    assert cloud.title == r"sc\x1ban.npy"
    pytest.importorskip("k3d")
    page = tmp_path / "a.html"
    assert call("predict", path, "--run", part_run.path, "--category", "chair", "--up", "z", "--html", page) == 0
    text = page.read_text()
    assert r"<title>sc\x1ban.npy" in text and "colleague" not in text


def test_pictures_of_a_scan_have_its_own_axis_up(part_run, tmp_path):
    from matplotlib.image import imread

    pictures = []
    for up in ("y", "z"):
        (path,) = write_objects(tmp_path / up, up, 1)
        pictures.append(tmp_path / f"{up}.png")
        words = ["--category", "chair", "--up", up, "--png", pictures[-1]]
        assert call("predict", path, "--run", part_run.path, *words) == 0
    first, second = map(imread, pictures)
    assert np.abs(first - second).mean() < 1e-3


def test_photographs_have_no_such_axis(tmp_path, capsys):
    run = train(load_run_config(TINY / "image.yaml", ["train.epochs=1"]), tmp_path / "run")
    (tmp_path / "a.png").touch()
    with pytest.raises(PccloraError, match="predicts photographs"):
        classes(run, [tmp_path / "a.png"], up="z")


def test_turned_files_are_said_and_upright_ones_are_not(run, tmp_path, caplog):
    """The tiny run is too small for single scans; a set is told, and the option that it names brings silence."""
    many = {up: write_objects(tmp_path / up, up, 40) for up in ("y", "z")}
    classes(run, many["y"])
    assert not caplog.messages
    classes(run, many["z"], up="z")
    assert not caplog.messages
    classes(run, many["z"])
    message, unlike = caplog.messages
    assert "unlike the training data (as 5 % of known objects are)" in unlike
    assert "40 of 40 files" in message and message.endswith("say --up z, in Python up='z'")
