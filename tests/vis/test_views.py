"""What is seen of a cloud is what it holds."""

from dataclasses import replace

import numpy as np
import pytest

from pcclora.errors import PccloraError
from pcclora.metrics import part_ious
from pcclora.runs.segmented import ClassAnswer, SegmentedCloud
from pcclora.vis.palette import RIGHT, WRONG, part_colours, rgb
from pcclora.vis.tokens import Tokens, token_colours
from pcclora.vis.views import answer_lines, figures_of, views_of


def test_each_point_has_the_colour_that_the_legend_gives_its_part(chair):
    views = views_of(chair)
    assert list(views) == ["ground truth", "prediction", "errors"]
    for labels, view in ((chair.truth, views["ground truth"]), (chair.prediction, views["prediction"])):
        legend = dict(view.legend)
        for part, colour in zip(labels, view.colours, strict=True):
            assert legend[chair.part_names[part].removeprefix("chair: ")] == tuple(colour)


def test_errors_are_the_wrong_points(chair):
    colours = views_of(chair)["errors"].colours
    wrong = (colours == rgb(WRONG)).all(axis=1)
    np.testing.assert_array_equal(wrong, chair.truth != chair.prediction)
    assert (colours[~wrong] == rgb(RIGHT)).all()


def test_only_what_is_known_is_seen(chair):
    scan = np.zeros((600, 3), np.uint8)
    assert list(views_of(replace(chair, truth=None, colors=scan))) == ["scan", "prediction"]
    assert list(views_of(replace(chair, truth=None, prediction=None))) == ["height"]


@pytest.mark.parametrize(("up", "axis"), [("x", 0), ("y", 1), ("z", 2)])
def test_a_cloud_of_which_nothing_is_known_is_seen_by_height(chair, up, axis):
    """The colours rise with the vertical axis, from the end of the scale to the other, in lightness too."""
    view = views_of(SegmentedCloud(chair.points, "thing"), up=up)["height"]
    order = np.argsort(chair.points[:, axis], kind="stable")
    lightness = view.colours[order] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -1.5).all() and np.ptp(lightness) > 100
    assert [tuple(view.colours[at]) for at in (order[0], order[-1])] == [colour for _, colour in view.legend]


def test_what_a_run_says_of_a_class(chair):
    wrong = ClassAnswer((("sofa", 0.81), ("chair", 0.1)), truth="chair")
    assert answer_lines(wrong) == ["sofa (81%)", "truly chair"] and wrong.wrong
    assert answer_lines(replace(wrong, truth="sofa")) == answer_lines(replace(wrong, truth=None)) == ["sofa (81%)"]
    assert figures_of(SegmentedCloud(chair.points, "chair", answer=wrong)) == ["sofa (81%)", "truly chair"]


def test_a_label_of_another_category_is_refused(chair):
    truth = chair.truth.copy()
    truth[7] = 0
    with pytest.raises(PccloraError, match="test object 4: part label 0; chair has the parts 1"):
        views_of(replace(chair, truth=truth))


def test_figures(chair):
    miou = part_ious(chair.truth, chair.prediction, chair.parts).mean()
    right = (chair.truth == chair.prediction).mean()
    confidence = chair.probabilities.max(axis=1).mean()
    expected = [f"mIoU {miou:.1%}", f"accuracy {right:.1%}", f"confidence {confidence:.1%}"]
    assert figures_of(chair) == expected
    assert figures_of(replace(chair, prediction=None, probabilities=None)) == []


def test_tokens_are_those_of_the_model(chair):
    """The black points are the centres; what has one colour is one of the tokeniser's own groups, whole."""
    import torch

    from pcclora.models.points.tokenizer import Grouping

    colours = token_colours(chair.points, Tokens(num_groups=12, group_size=16, points=600))
    drawn = torch.from_numpy(chair.points)[None]
    groups, centres = Grouping(12, 16)(drawn[:, farthest(chair.points, 600)])
    black, grey = ((colours == shade).all(axis=1) for shade in ((0, 0, 0), rgb(RIGHT)))
    assert points_of(chair.points[black]) == points_of(centres[0].numpy())
    members = [points_of(own) for own in (groups + centres[:, :, None])[0].numpy()]
    shown = {tuple(colour) for colour in colours[~grey & ~black]}
    assert 2 <= len(shown) <= 9 and shown <= {tuple(colour) for colour in part_colours(9)}
    for colour in shown:
        own = points_of(chair.points[(colours == colour).all(axis=1)])
        assert any(own <= token and token - own <= points_of(chair.points[black]) for token in members)


def test_a_cloud_too_small_for_tokens_is_refused(chair):
    with pytest.raises(PccloraError, match="600 points cannot be cut .* 601 are needed"):
        token_colours(chair.points, Tokens(num_groups=601, group_size=8))


def points_of(points):
    return {tuple(np.round(point, 4)) for point in points.tolist()}


def farthest(points, count):
    """A naive farthest-point sample."""
    chosen, nearest = [0], np.full(len(points), np.inf)
    for _ in range(count - 1):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return chosen
