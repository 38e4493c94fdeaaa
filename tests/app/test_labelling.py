"""The simulated person: labels are what the truth says of each piece, and each click is counted."""

import numpy as np
import pytest

from pcclora.tools.benchmarks.labelling import Measured, actions_to_correct, actions_to_paint, draw
from tests.app.conftest import made
from tests.app.test_session import said


@pytest.fixture
def truth():
    return made("chair", 1)[0][1]


def majorities(session, truth):
    return np.array([np.bincount(truth[session.pieces == piece]).argmax() for piece in range(session.pieces.max() + 1)])


def test_painting_gives_each_piece_its_commonest_part_and_counts(session, truth):
    session.set_category("chair")
    actions = actions_to_paint(session, truth)
    wanted = majorities(session, truth)
    rest = wanted != np.bincount(truth).argmax()
    assert np.array_equal(session.now.labels, wanted[session.pieces]) and session.now.finished
    assert actions == rest.sum() + len(np.unique(wanted[rest])) + 1


def test_what_is_right_costs_one_key(session, truth):
    session.propose(said(session, truth))
    assert actions_to_correct(session, truth) == 1
    assert np.array_equal(session.now.labels, truth) and session.now.finished


def test_correcting_costs_what_is_wrong(session, truth):
    wrong = np.where(np.isin(session.pieces, [3, 8]), (majorities(session, truth)[session.pieces] + 1) % 4, truth)
    session.propose(said(session, wrong))
    wanted = majorities(session, truth)[[3, 8]]
    assert actions_to_correct(session, truth) == 2 + len(np.unique(wanted)) + 1
    assert (session.now.labels == truth).mean() > 0.98


def test_the_curve_is_a_picture(tmp_path):
    rows = [Measured(way, n, n * 9, 0.9, 0.5) for way in ("painting", "correcting") for n in (2, 4)]
    draw(rows, tmp_path / "curve.png", title="chair")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
