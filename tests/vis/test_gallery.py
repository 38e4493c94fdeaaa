"""Galleries: every view that is known, in its column, with a legend, and written whole or not at all."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from pcclora.errors import PccloraError
from pcclora.vis import Tokens, draw_gallery, palette
from pcclora.vis.gallery import CAPTION, HEADING, LEAST, LEGEND, MARGIN, PANEL


def draw(clouds, target, **options):
    """The picture as (H, W, 3) uint8."""
    draw_gallery(clouds, target, renderer="splat", **options)
    return (255 * imread(target)[..., :3]).round().astype(np.uint8)


def ink(pixels):
    return (pixels < 250).any(axis=2)


def panel(pixels, column, rows=slice(HEADING, None)):
    return pixels[rows, CAPTION + PANEL[0] * column :][:, : PANEL[0]]


def test_columns_are_the_views(tmp_path, chair):
    pixels = draw([chair], tmp_path / "a.png")
    assert pixels.shape[1] == CAPTION + 3 * PANEL[0] + LEGEND
    truth, prediction, errors = (panel(pixels, column) for column in range(3))
    shares = [ink(part).mean() for part in (truth, prediction, errors)]
    assert 0.05 < min(shares) and np.ptp(shares) < 0.005  # the same points seen from the same place
    assert (truth != prediction).any()
    reddish = (errors[..., 0].astype(int) - errors[..., 1]) > 100
    wrong = (chair.truth != chair.prediction).mean()
    assert 0.3 * wrong < reddish.sum() / ink(errors).sum() < 2 * wrong


def test_nothing_touches_the_border(tmp_path, chair):
    names = tuple(f"part {n} of a name without an end" for n in range(60))
    long = replace(
        chair, title="data/" * 50 + ", an object", category="a category too long to be read", part_names=names
    )
    pixels = draw([long, chair], tmp_path / "a.png", captions=["best", "worst"], tokens=Tokens(16, 16))
    border = np.concatenate([pixels[:6].reshape(-1, 3), pixels[-6:].reshape(-1, 3), pixels[:, :6].reshape(-1, 3)])
    assert (border == 255).all() and (pixels[:, -6:] == 255).all()


def test_a_legend_has_the_colour_of_each_part(tmp_path, chair):
    pixels = draw([chair], tmp_path / "a.png")[:, -LEGEND:]
    for colour in palette.PARTS[: len(chair.parts)]:
        assert (pixels == palette.rgb(colour)).all(axis=2).sum() > 50


def test_objects_of_which_different_things_are_known(tmp_path, chair):
    scan = np.full((600, 3), (10, 200, 30), np.uint8)
    pixels = draw([replace(chair, prediction=None), replace(chair, truth=None, colors=scan)], tmp_path / "a.png")
    columns = (pixels.shape[1] - CAPTION - LEGEND) // PANEL[0]
    middle = (HEADING + len(pixels)) // 2  # both rows are as high
    first = [ink(panel(pixels, column, slice(HEADING, middle - MARGIN // 2))).any() for column in range(columns)]
    second = [ink(panel(pixels, column, slice(middle - MARGIN // 2, None))).any() for column in range(columns)]
    assert (first, second) == ([False, True, False], [True, False, True])  # scan, ground truth, prediction


def test_nothing_to_draw_leaves_no_file(tmp_path):
    with pytest.raises(PccloraError, match="nothing to draw"):
        draw_gallery([], tmp_path / "a.png")
    assert not any(tmp_path.iterdir())


def test_a_low_object_takes_a_low_row(tmp_path, chair):
    """No blank bands above and below what is flat; nothing of it is cut off."""
    flat = replace(chair, points=(chair.points * [1, 0.02, 0.3]).astype(np.float32))
    low, high = (draw([cloud], tmp_path / "a.png") for cloud in (flat, chair))
    assert len(low) == HEADING + LEAST + MARGIN < len(high)
    rows = np.flatnonzero(ink(panel(low, 0)).any(axis=1))
    assert rows[0] >= 10 and rows[-1] < LEAST - 10
