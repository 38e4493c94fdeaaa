"""Colours: what is offered, that they say what they mean, and that names cannot become markup."""

import numpy as np
import pytest

from pcclora.app.looks import (
    CHOSEN,
    CONFIDENCE,
    EMPTY,
    ERRORS,
    FILE,
    HEIGHT,
    LABELS,
    OWN,
    PREDICTION,
    legend_html,
    look,
    looks_of,
    with_pieces,
    with_selection,
)
from pcclora.app.predicting import Prediction
from pcclora.app.session import Session
from pcclora.vis.palette import RIGHT, WRONG, part_colours, rgb
from tests.app.conftest import made, write_scans


def said(labels, parts=("back", "seat", "leg", "arm")) -> Prediction:
    return Prediction("run", "chair", {}, parts, labels, np.linspace(0, 1, len(labels), dtype=np.float32))


@pytest.fixture
def truth():
    return made("chair", 1)[0][1]


def test_only_what_there_are_data_for_is_offered(session, truth, tmp_path, folder):
    assert {OWN, FILE, PREDICTION, ERRORS, CONFIDENCE}.isdisjoint(looks_of(session, None))
    assert {PREDICTION, ERRORS, CONFIDENCE} <= set(looks_of(session, said(truth)))
    of_classes = Prediction("run", "chair", {"chair": 0.9}, (), None, np.full(len(truth), 0.9, np.float32))
    assert {PREDICTION, ERRORS}.isdisjoint(looks_of(session, of_classes))
    labelled = Session(write_scans(tmp_path, "chair", 1, labelled=True), folder)
    assert FILE in looks_of(labelled, None)
    for name in [*looks_of(labelled, said(truth)), *looks_of(session, of_classes)]:
        assert look(labelled, name, said(truth)).colours.shape == (len(truth), 3)


def test_a_part_has_its_colour_and_no_part_is_grey(session):
    session.set_category("chair")
    session.select(session.pieces == 0)
    session.assign(2)
    view = look(session, LABELS, None)
    assert (view.colours[session.pieces == 0] == part_colours(4)[2]).all()
    assert (view.colours[session.pieces != 0] == EMPTY).all()
    assert view.legend[-1][0] == "no part yet"


def test_a_prediction_has_the_colours_of_the_same_parts_here(session, truth):
    session.set_category("chair")
    order = ("arm", "leg", "seat", "back")
    view = look(session, PREDICTION, said(3 - truth, order))
    assert np.array_equal(view.colours, part_colours(4)[truth])


def test_a_prediction_of_parts_that_are_not_known_here_has_its_own_names(session, truth):
    view = look(session, PREDICTION, said(truth, ("a", "b", "c", "d")))
    assert [name for name, _ in view.legend] == ["a", "b", "c", "d"]


def test_differences_are_those_from_the_labels(session, truth):
    session.set_category("chair")
    for part in range(3):
        session.select(truth == part)
        session.assign(part)
    wrong = np.where(np.arange(len(truth)) < 50, (truth + 1) % 3, truth)
    colours = look(session, ERRORS, said(wrong)).colours
    differs = (wrong != truth) & (truth < 3)
    assert (colours[differs] == rgb(WRONG)).all() and (colours[~differs] == rgb(RIGHT)).all()


def test_higher_points_are_brighter(session):
    colours = look(session, HEIGHT, None).colours.astype(int)
    height = session.scan.placed[:, 1]
    assert colours[height.argmax()].sum() > colours[height.argmin()].sum()


def test_selection_and_pieces_change_no_other_colour(session):
    base = look(session, LABELS, None).colours
    session.select(session.pieces == 1)
    marked = with_selection(base, session)
    assert (marked[session.selected] == CHOSEN).all() and (marked[~session.selected] == EMPTY).all()
    shaded = with_pieces(base, session)
    assert len(np.unique(shaded[session.pieces == 5], axis=0)) == 1
    assert len(np.unique(shaded, axis=0)) > 20


def test_names_from_outside_are_no_markup():
    text = legend_html((("<img src=x onerror=alert(1)>", (1, 2, 3)),), more=["a\x1b<b>"])
    assert "<img" not in text and "<b>" not in text and "\x1b" not in text
