"""What pictures, pages and files make of names that nobody should give: all letters are shown and none is obeyed."""

import json
import re
import unicodedata
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from pcclora.data import read_scan
from pcclora.engine.run_folder import RunFolder
from pcclora.registry import DATASETS
from pcclora.runs.segmented import SegmentedCloud
from pcclora.studies.fewshot.summary import MethodResult, SettingResult
from pcclora.text import short
from pcclora.vis import draw_confusion, draw_folds, draw_gallery, draw_iou_bars
from pcclora.vis.canvas import Canvas
from pcclora.vis.image_gallery import draw_image_gallery
from pcclora.vis.lettering import plain_text
from pcclora.vis.page_object import describe
from pcclora.vis.ply import write_ply
from pcclora.vis.views import views_of
from pcclora.vis.window_legend import draw_panel
from pcclora.vis.window_state import WindowState
from tests.runs.summaries import summary
from tests.vis.names import NASTY

P = len(NASTY)


@pytest.fixture
def cloud() -> SegmentedCloud:
    """One point a name, each name a part."""
    labels = np.arange(P)
    return SegmentedCloud(
        points=np.random.default_rng(3).normal(size=(P, 3)).astype(np.float32),
        category=NASTY[0],
        part_names=NASTY,
        parts=tuple(range(P)),
        truth=labels,
        prediction=labels[::-1].copy(),
        probabilities=np.full((P, P), 1 / P, np.float32),
        title=", ".join(NASTY),
    )


@pytest.fixture(autouse=True)
def few_warnings():
    """The font has no Chinese: one warning a picture, not one a letter."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
    assert len(caught) <= 1, [str(w.message) for w in caught]


def obeyed(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def folds() -> SettingResult:
    result = MethodResult((0.5, 0.7), 0.6, 0.1, 0.1, 0.2, 10, 1.0, "nothing")
    return SettingResult(5, 1, "accuracy", dict.fromkeys(NASTY, result), (), 0)


DRAWN = {
    "confusion": lambda path, _: draw_confusion(np.eye(P, dtype=np.int64), NASTY, path, title=NASTY[0]),
    "bars": lambda path, _: draw_iou_bars({n: {"iou": 0.5, "shapes": 2} for n in NASTY}, path, title=NASTY[1]),
    "folds": lambda path, _: draw_folds([folds()], path, title=NASTY[1]),
    "gallery": lambda path, cloud: draw_gallery([cloud], path, captions=[NASTY[1]], renderer="splat"),
}


def test_long_names_of_methods_leave_the_axis_its_label(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    result = next(iter(folds().methods.values()))
    for names in (["a"], ["W" * 60, "b"]):
        draw_folds([replace(folds(), methods=dict.fromkeys(names, result))] * 2, tmp_path / "a.png", title="t")
        figure = drawn[-1]
        figure.draw_without_rendering()
        for axes in figure.axes:
            for text in (axes.xaxis.label, axes.title):
                inside = text.get_window_extent()
                assert inside.x0 >= 0 and inside.x1 <= figure.bbox.width
    assert drawn[1].get_figwidth() > drawn[0].get_figwidth() == 2 * 5.2 + 0.4


@pytest.mark.parametrize("kind", DRAWN)
def test_every_picture_is_drawn(tmp_path, cloud, kind):
    DRAWN[kind](tmp_path / "a.png", cloud)
    pixels = imread(tmp_path / "a.png")[..., :3]
    assert (pixels < 0.5).any(axis=2).sum() > 1000


def test_the_window_is_drawn(cloud):
    assert (draw_panel(WindowState([cloud])) < 128).any(axis=2).sum() > 1000


def test_a_gallery_of_images_is_drawn(tmp_path, monkeypatch):
    """The classes of a data set are renamed; its own samples stay."""
    build = DATASETS.build

    def renamed(*arguments, **options):
        dataset = build(*arguments, **options)
        dataset.class_names = NASTY[: len(dataset.class_names)]
        return dataset

    monkeypatch.setattr(DATASETS, "build", renamed)
    tiny = Path(__file__).parents[1] / "tiny" / "image.yaml"
    (tmp_path / "config.yaml").write_text(tiny.read_text())
    rows = [f"{n},{n % 5},{(n + n // 10) % 5},0.9" for n in range(20)]
    (tmp_path / "predictions.csv").write_text("\n".join(["index,label,prediction,confidence", *rows, ""]))
    held = summary(classes=NASTY[:5], samples={"train": 12, "test": 20})
    (tmp_path / "summary.json").write_text(json.dumps(held))
    draw_image_gallery(RunFolder(tmp_path), tmp_path / "gallery.png", title=NASTY[1])
    assert (imread(tmp_path / "gallery.png")[..., :3] < 0.5).any(axis=2).sum() > 1000


def inked(words: str) -> np.ndarray:
    canvas = Canvas(400, 60)
    canvas.text(10, 30, words)
    return canvas.pixels()


def test_a_dollar_sign_is_a_dollar_sign():
    """The picture of a formula is that of its letters one by one: wider than a formula, whose signs are not drawn."""
    assert not np.array_equal(inked("$x$"), inked("x"))
    np.testing.assert_array_equal(inked("a\nb"), inked(r"a\nb"))


def test_a_users_matplotlibrc_and_rcparams_are_left_as_they_are(monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    inked("$x$")
    with plain_text():
        assert not matplotlib.rcParams["text.usetex"] and not matplotlib.rcParams["text.parse_math"]
    assert matplotlib.rcParams["text.usetex"] and matplotlib.rcParams["text.parse_math"]


def test_a_warning_of_another_kind_passes(few_warnings):
    with plain_text():
        warnings.warn("the third kind", stacklevel=1)
    assert str(few_warnings[0].message) == "the third kind"


def test_long_names_are_cut_after_they_are_made_visible():
    assert short("\x1b" * 9, 10) == r"\x1b\x1b\…" and short("chair", 5) == "chair"


def test_the_header_of_a_ply_is_a_line_a_name(tmp_path, cloud):
    write_ply(cloud, tmp_path / "a.ply")
    header = (tmp_path / "a.ply").read_bytes().partition(b"\nend_header\n")[0].decode()
    lines = header.split("\n")
    assert not obeyed(header.replace("\n", ""))
    assert sum(line.startswith("comment label ") for line in lines) == P
    assert all(re.fullmatch(r"(ply|format|comment|element|property)( .*)?", line) for line in lines)
    np.testing.assert_array_equal(read_scan(tmp_path / "a.ply").labels, cloud.prediction)


def test_what_a_page_is_told_has_no_letter_that_turns_the_direction(cloud):
    from pcclora.vis.camera import Camera

    told = describe(replace(cloud, category=NASTY[7]), views_of(cloud), np.arange(P), Camera())
    words = [told["name"], *told["facts"].split("\n"), *(part["name"] for part in told["parts"])]
    assert not any(obeyed(word) for word in words)
    json.dumps(told).encode()
