"""Grids of clouds and of images: a panel an object, under it what is said of it, under headings."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from pcclora.errors import PccloraError
from pcclora.runs.segmented import ClassAnswer, SegmentedCloud
from pcclora.vis import draw_clouds, palette
from pcclora.vis.canvas import Canvas
from pcclora.vis.grid import CAPTION, COLUMNS, HEADING, MARGIN, PANEL, TITLE
from pcclora.vis.image_gallery import SIDE, _beside
from tests.vis.names import NASTY


@pytest.fixture
def written(monkeypatch):
    """The words of a picture, with their colours."""
    found = []
    write = Canvas.text

    def text(self, x, y, words, **options):
        found.append((words, options.get("colour", palette.BLACK)))
        write(self, x, y, words, **options)

    monkeypatch.setattr(Canvas, "text", text)
    return found


def answered(chair, guess="chair", truth=None, confidence=0.9):
    return SegmentedCloud(
        chair.points, "chair", title="test object 4, a/b/c.ply", answer=ClassAnswer(((guess, confidence),), truth=truth)
    )


def draw(sections, target, **options):
    draw_clouds(sections, target, renderer="splat", **options)
    return (255 * imread(target)[..., :3]).round().astype(np.uint8)


def test_right_and_wrong_answers_are_told_apart(tmp_path, chair, written):
    sections = {
        "wrong ones": [answered(chair, "sofa", "chair")],
        "right ones": [answered(chair, "chair", "chair")] * 2,
        "open": [],
    }
    pixels = draw(sections, tmp_path / "a.png", title="data · model")
    assert pixels.shape == (TITLE + 3 * HEADING + 2 * (PANEL[1] + CAPTION) + MARGIN, 2 * MARGIN + 3 * PANEL[0], 3)
    assert ("data · model", palette.BLACK) in written and ("open: none", palette.GREY) in written
    assert ("sofa (90%)", palette.WRONG) in written and ("truly chair", palette.BLACK) in written
    assert written.count(("chair (90%)", palette.BLUE)) == 2
    assert ("a/b/c.ply", palette.GREY) in written


def test_an_answer_whose_truth_is_unknown_is_neither(tmp_path, chair, written):
    draw({"": [answered(chair)]}, tmp_path / "a.png")
    assert ("chair (90%)", palette.BLACK) in written and not any(words.startswith("truly") for words, _ in written)


def test_more_than_a_row_is_drawn_below(tmp_path, chair):
    pixels = draw({"": [answered(chair)] * (COLUMNS + 1)}, tmp_path / "a.png")
    assert pixels.shape[:2] == (2 * MARGIN + 2 * (PANEL[1] + CAPTION), 2 * MARGIN + COLUMNS * PANEL[0])
    second = pixels[MARGIN + PANEL[1] + CAPTION :]
    inked = (second < 250).any(axis=2).any(axis=0)
    assert inked[: MARGIN + PANEL[0]].any() and not inked[MARGIN + PANEL[0] :].any()


def test_own_colours_go_before_height(tmp_path, chair):
    red = np.tile(np.array([200, 0, 0], np.uint8), (600, 1))
    for colors, reddish in ((red, True), (None, False)):
        pixels = draw({"": [replace(answered(chair), colors=colors)]}, tmp_path / "a.png").astype(int)
        assert ((pixels[..., 0] - pixels[..., 1] > 100).sum() > 500) == reddish


def test_an_object_stands_upright_by_the_axis_that_is_said(tmp_path, chair):
    from pcclora.vis import Camera

    x, y, z = chair.points.T
    turned = replace(answered(chair), points=np.stack([x, -z, y], axis=1))
    upright = draw({"": [answered(chair)]}, tmp_path / "a.png")
    assert np.abs(upright.astype(int) - draw({"": [turned]}, tmp_path / "b.png", camera=Camera(up="z"))).mean() < 0.5


def test_names_from_outside_leave_the_border_free(tmp_path, chair):
    clouds = [replace(answered(chair, name, "chair"), title=f"{name}/{name}") for name in NASTY]
    pixels = draw({NASTY[0]: clouds}, tmp_path / "a.png", title=NASTY[1] * 5)
    border = [pixels[:6], pixels[-6:], pixels[:, :6], pixels[:, -6:]]
    assert all((side == 255).all() for side in border)


def test_nothing_to_draw_leaves_no_file(tmp_path):
    with pytest.raises(PccloraError, match="nothing to draw"):
        draw_clouds({"wrong": []}, tmp_path / "a.png")
    assert not any(tmp_path.iterdir())


def test_a_file_stands_beside_what_the_model_sees():
    wide, small = np.full((400, 800, 3), 50, np.uint8), np.full((8, 8, 3), 180, np.uint8)
    page = _beside(wide, small)
    assert page.shape == (SIDE, PANEL[0], 3)
    assert (page == 50).all(axis=2).sum() == SIDE * SIDE // 2  # its shape is kept
    assert (page == 180).all(axis=2).sum() == SIDE * SIDE
    assert np.flatnonzero((page == 50).any(axis=(0, 2))).max() < np.flatnonzero((page == 180).any(axis=(0, 2))).min()
