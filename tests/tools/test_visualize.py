"""``pcclora visualize`` as a user calls it, on a small run, a data set and a file."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread

from pcclora.config import load_config
from pcclora.data import ProceduralConfig, ProceduralDataset, read_scan
from pcclora.engine.run_folder import read_rows
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.runs.adapt import train
from pcclora.runs.answers import answers_of, surest
from pcclora.runs.class_views import classified_test_clouds
from pcclora.runs.part_views import segmented_test_shapes
from pcclora.runs.reload import TrainedRun
from pcclora.tasks.settings import ClassificationRun, ImageRun, PartSegmentationRun
from pcclora.vis import draw_run, grid, write_ply
from pcclora.vis.gallery import CAPTION, HEADING, LEAST, LEGEND, MARGIN, PANEL
from pcclora.vis.runs import extremes, worst
from pcclora.vis.sources import samples_of
from pcclora.vis.views import views_of

ROOT = Path(__file__).parents[2]
SMALL = ["data=procedural", "data.test=16", "data.points=200"]


def visualize(*arguments):
    """Run the tool in this process; returns its exit code."""
    before, sys.argv = sys.argv, ["visualize", *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "tools" / "visualize.py"), run_name="__main__")
    except SystemExit as stopped:
        return stopped.code
    finally:
        sys.argv = before
    return 0


def has_panels(picture, rows, columns):
    """Whether a gallery is of so many; a row is as high as what is in it."""
    height, width, _ = imread(picture).shape
    fits = rows * LEAST <= height - HEADING - MARGIN <= rows * PANEL[1]
    return fits and width == CAPTION + columns * PANEL[0] + LEGEND


def cells(picture, headings=0, title=True):
    """Rows and columns of a grid."""
    height, width, _ = imread(picture).shape
    rest = height - grid.MARGIN - headings * grid.HEADING - (grid.TITLE if title else grid.MARGIN)
    assert rest % (grid.PANEL[1] + grid.CAPTION) == 0
    return rest // (grid.PANEL[1] + grid.CAPTION), (width - 2 * grid.MARGIN) // grid.PANEL[0]


def write_scans(root, up="y"):
    """A part folder of a pole with a head, whose files have this axis up."""
    root.mkdir()
    (root / "parts.yaml").write_text("pole: [low, high]")
    x, y, z = (np.random.default_rng(0).normal(size=(200, 3)) * [0.3, 2, 0.5]).T
    points = np.stack({"x": (y, -x, z), "y": (x, y, z), "z": (x, -z, y)}[up], axis=1)
    for index in range(2):
        np.savez(root / f"{index}.npz", points=points, label=(y > 1).astype(int))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    tiny = load_config(PartSegmentationRun, file=ROOT / "tests" / "tiny" / "partseg.yaml", overrides=["train.epochs=1"])
    return train(tiny, tmp_path_factory.mktemp("runs") / "run")


def test_a_run_is_drawn(run):
    draw_run(run)
    assert all(picture.stat().st_size > 5000 for picture in (run.curves, run.ious, run.gallery))
    assert has_panels(run.gallery, 3, 3) and not run.confusion.exists()


def test_extremes_are_those_of_the_scores(run):
    rows = read_rows(run.predictions)
    mious = [row["miou"] for row in rows]
    several = sorted(row["miou"] for row in rows if row["parts"] > 1)
    best, median, least = extremes(run).values()
    assert (mious[best], mious[least]) == (several[-1], several[0])
    assert mious[median] == several[(len(several) - 1) // 2]
    assert [mious[index] for index in worst(run, 4)] == sorted(mious)[:4]


@pytest.mark.parametrize(
    ("mious", "found"),
    [
        ([0.5], {"best and worst": 0}),
        ([0.9, 0.5], {"best": 0, "worst": 1}),
        ([0.7, 0.9, 0.5], {"best": 1, "median": 0, "worst": 2}),
    ],
)
def test_no_shape_is_shown_twice(mious, found):
    rows = [{"index": index, "miou": miou, "parts": 2} for index, miou in enumerate(mious)]
    folder = SimpleNamespace(read_predictions=lambda: rows, read_summary=lambda: {"categories": {}})
    assert extremes(folder) == found


def test_a_run_is_shown_in_every_way(run, tmp_path, capsys):
    png, html, ply = (tmp_path / f"a.{suffix}" for suffix in ("png", "html", "ply"))
    words = ["--run", run.path, "--index", 5, "--png", png, "--html", html, "--ply", ply, "--tokens"]
    assert visualize(*words, "--renderer", "splat") == 0
    assert capsys.readouterr().out == f"wrote {ply}\nwrote {png}\nwrote {html}\n"
    assert has_panels(png, 1, 4)
    (shape,) = segmented_test_shapes(TrainedRun(run), [5])
    np.testing.assert_allclose(read_scan(ply).points, shape.points, atol=1e-6)


def test_the_worst_are_shown(run, tmp_path):
    assert visualize("--run", run.path, "--worst", 2, "--png", tmp_path / "a.png", "--renderer", "splat") == 0
    assert has_panels(tmp_path / "a.png", 2, 3)


def test_true_parts_of_a_data_set(tmp_path):
    words = ["--index", 0, 3, "--up", "z", "--azimuth", 20, "--png", tmp_path / "a.png", "--renderer", "splat"]
    assert visualize(*SMALL, *words) == 0
    assert has_panels(tmp_path / "a.png", 2, 1)


def test_a_labelled_file(run, tmp_path):
    write_ply(segmented_test_shapes(TrainedRun(run), [2])[0], tmp_path / "a.ply")
    assert visualize(tmp_path / "a.ply", "--png", tmp_path / "a.png", "--renderer", "splat") == 0
    assert has_panels(tmp_path / "a.png", 1, 2)  # colours and labels


@pytest.mark.parametrize("up", ["x", "z"])
def test_data_whose_files_have_another_axis_up_are_shown_upright(up, tmp_path):
    """The same picture as of y-up files: of the data set by itself, of a file by --up."""
    pictures = []
    for axis in ("y", up):
        root = tmp_path / axis
        write_scans(root, axis)
        options = ["--index", 0, "--renderer", "splat", "--png"]
        assert visualize("data=part_folder", f"data.root={root}", f"data.up={axis}", *options, root / "set.png") == 0
        assert visualize(root / "0.npz", "--up", axis, *options[2:], root / "file.png") == 0
        pictures.append([imread(root / name) for name in ("set.png", "file.png")])
    for upright, turned in zip(*pictures, strict=True):
        assert np.abs(upright - turned).mean() < 1e-3


def test_data_without_parts_are_shown_by_height():
    data = ProceduralDataset(ProceduralConfig(test=50), split="test")
    data.parts = None
    clouds = samples_of(data)
    assert len(clouds) == 12 and len({cloud.category for cloud in clouds}) > 4  # not the first, which are of one class
    assert {tuple(views_of(cloud)) for cloud in clouds} == {("height",)}


def test_data_of_images_are_refused():
    with pytest.raises(PccloraError, match="holds images; point clouds are needed"):
        samples_of(DATASETS.build(DATASETS.get("digits").config(), split="test"))


def test_files_and_folders_are_shown_as_they_are(tmp_path, capsys, caplog):
    (tmp_path / "scans").mkdir()
    for index in range(14):
        np.save(tmp_path / "scans" / f"{index:02}.npy", np.random.default_rng(index).normal(size=(50, 3)))
    png, html = tmp_path / "a.png", tmp_path / "a.html"
    assert (
        visualize(tmp_path / "scans", "--png", png, "--html", html, "--title", "My scans", "--renderer", "splat") == 0
    )
    assert cells(png) == (2, 6)
    assert "12 of 14 files are shown; choose others by --index" in caplog.text
    assert "<h1>My scans</h1>" in html.read_text()
    assert visualize(tmp_path / "scans", "--index", 3, 4, "--png", png, "--renderer", "splat") == 0
    assert cells(png) == (1, 3)
    assert visualize(tmp_path / "scans" / "00.npy", "--html", html) == 0
    assert "<h1>00.npy</h1>" in html.read_text() and str(tmp_path) not in html.read_text()


def test_a_dry_run_needs_no_run(capsys):
    assert visualize("--run", "runs/partseg/RUN", "--html", "a.html", "--dry-run") == 0
    assert "nothing was done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (SMALL, "no display to open a window on"),
        ([*SMALL, "--index", 16], "test object 16; there are 0 to 15"),
        ([*SMALL, "--worst", 2], "--worst 2: a number from 1 is needed, and --run DIR"),
        ([*SMALL, "a.ply"], "files and key=value: what is shown comes from one of them"),
        (["plain.npy", "--index", 1], "file 1; there are 0 to 0"),
        (["absent.ply"], "no such file"),
        (["plain.npy", "--ply", "a.ply"], "has no part labels to write"),
        (["scans", "absent.npy"], "no such file"),
        ([*SMALL, "--ply", "a.ply"], "--ply a.ply: takes one object, not 3; choose one: --index N"),
        ([*SMALL, "--png", "absent/a.png"], "make its folder first"),
        (["--run", "absent"], "not a run folder"),
        (["data=part_folder", "data.root=scans", "data.up=z", "--up", "z"], "turned upright as they are read"),
    ],
)
def test_bad_input_is_one_message(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    np.save("plain.npy", np.random.default_rng(0).normal(size=(50, 3)))
    write_scans(tmp_path / "scans")
    assert visualize(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and "Traceback" not in error
    assert sorted(file.name for file in tmp_path.iterdir()) == ["plain.npy", "scans"]


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    tiny = load_config(ClassificationRun, file=ROOT / "tests" / "tiny" / "cls.yaml", overrides=["train.epochs=1"])
    return train(tiny, tmp_path_factory.mktemp("runs") / "classes")


def test_a_classification_run_is_drawn(classes):
    draw_run(classes)
    assert all(picture.stat().st_size > 5000 for picture in (classes.curves, classes.confusion, classes.gallery))
    assert cells(classes.gallery, headings=3)[1] == 6


def test_a_classification_run_is_shown_in_every_way(classes, tmp_path, capsys):
    png, html = tmp_path / "a.png", tmp_path / "a.html"
    words = ["--run", classes.path, "--renderer", "splat", "--png", png]
    assert visualize(*words, "--html", html) == 0
    assert capsys.readouterr().out == f"wrote {png}\nwrote {html}\n"
    assert "<h1>procedural · point_mae_tiny · clora</h1>" in html.read_text()
    answers = answers_of(classes)
    assert visualize(*words, "--worst", 2) == 0
    assert cells(png, headings=1) == (1, 3)
    clouds = classified_test_clouds(TrainedRun(classes), surest(answers, right=False, count=2))
    assert all(cloud.answer.wrong for cloud in clouds)
    assert visualize(*words, "--index", 1, 0, 2, 3) == 0
    assert cells(png) == (1, 4)
    assert visualize(*words, "--index", 1, "--tokens") == 0
    assert has_panels(png, 1, 2)  # height and tokens
    capsys.readouterr()
    assert visualize(*words, "--index", len(answers)) == 2
    assert f"test object {len(answers)}; there are 0 to {len(answers) - 1}" in capsys.readouterr().err


def test_its_objects_are_those_of_its_answers(classes):
    chosen = surest(answers_of(classes), right=False)[:3]
    data = ProceduralDataset(ProceduralConfig(train=48, test=19, points=128), split="test")
    for answer, cloud in zip(chosen, classified_test_clouds(TrainedRun(classes), chosen), strict=True):
        np.testing.assert_array_equal(cloud.points, data[answer.index].points)
        assert (cloud.answer.guess, cloud.category) == (answer.guess, data.class_names[data.labels[answer.index]])


def test_an_image_run_is_refused(tmp_path, capsys):
    tiny = load_config(ImageRun, file=ROOT / "tests" / "tiny" / "image.yaml", overrides=["train.epochs=1"])
    run = train(tiny, tmp_path / "run")
    assert visualize("--run", run.path, "--png", tmp_path / "a.png") == 2
    assert "a classification run on clouds is needed" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
