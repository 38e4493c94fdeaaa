"""What is done without a browser: selecting, assigning, undoing, proposing; the disk has each step."""

from types import SimpleNamespace

import numpy as np
import pytest

from pcclora.app.labels import UNLABELLED, LabelFolder
from pcclora.app.pointing import Eye
from pcclora.app.predicting import Prediction
from pcclora.app.session import Session
from pcclora.errors import PccloraError
from tests.app.conftest import made, write_scans

EYE = Eye(np.array([0.0, 0.0, -3.0]), np.array([1.0, 0, 0, 0]), np.radians(60), 1.5)


def on_disk(session: Session):
    return LabelFolder(session.labels.root).find(session.scan)


def label_all(session: Session, parts: np.ndarray) -> None:
    session.set_category("chair")
    for part in np.unique(parts):
        session.select(parts == part)
        session.assign(int(part))


def said(session: Session, labels: np.ndarray, parts=("leg", "back", "seat", "arm")) -> Prediction:
    """What a run says that has the parts in another order: of every point a part of the session's own numbering."""
    own = np.array([parts.index(name) for name in ("back", "seat", "leg", "arm")])[labels]
    return Prediction("run", "chair", {}, parts, own, np.full(len(labels), 0.9, np.float32))


@pytest.fixture
def truth() -> np.ndarray:
    return made("chair", 1)[0][1]


class TestSelecting:
    def test_a_click_takes_the_whole_piece_of_the_foremost_point(self, session):
        session.click(EYE, (0.5, 0.5))
        pieces = np.unique(session.pieces[session.selected])
        assert len(pieces) == 1 and session.selected.sum() == (session.pieces == pieces[0]).sum()
        nearest = np.linalg.norm(session.scan.placed[session.selected][:, :2], axis=1).min()
        assert nearest < 0.1

    def test_shift_adds_ctrl_takes_away_and_a_plain_click_begins_anew(self, session):
        first, second = session.pieces == 0, session.pieces == 1
        session.select(first)
        session.select(second, "add")
        assert np.array_equal(session.selected, first | second)
        session.select(first, "take")
        assert np.array_equal(session.selected, second)
        session.select(first)
        assert np.array_equal(session.selected, first)

    def test_a_click_beside_the_scan_changes_nothing(self, session):
        session.select(session.pieces == 3)
        before = session.selected.copy()
        session.click(EYE, (0.01, 0.01))
        assert np.array_equal(session.selected, before)

    def test_a_rectangle_over_all_leaves_out_what_is_hidden(self, session):
        session.rectangle(EYE, (0.0, 0.0), (1.0, 1.0))
        front = session.scan.placed[session.selected][:, 2].mean()
        assert 0 < session.selected.mean() < 1
        assert front < session.scan.placed[~session.selected][:, 2].mean()

    def test_more_pieces_are_smaller(self, session):
        session.cut(300)
        session.click(EYE, (0.5, 0.5))
        small = session.selected.sum()
        session.cut(10)
        assert not session.selected.any()
        session.click(EYE, (0.5, 0.5))
        assert session.selected.sum() > small


class TestLabelling:
    def test_every_step_is_on_the_disk(self, session, truth):
        session.set_category("chair")
        session.select(session.pieces < 5)
        session.assign(1)
        assert np.array_equal(on_disk(session).labels, np.where(session.pieces < 5, 1, UNLABELLED))
        assert not session.selected.any()
        session.fill(0)
        assert np.array_equal(on_disk(session).labels, np.where(session.pieces < 5, 1, 0))
        assert session.labels.finished() == {"chair": 1}

    def test_undo_and_redo_go_through_all_steps_and_the_disk_with_them(self, session, truth):
        label_all(session, truth)
        steps = 1 + len(np.unique(truth))
        for _ in range(steps):
            assert session.undo()
        assert not session.undo() and session.now.category == ""
        assert on_disk(session) is None and session.labels.finished() == {}
        for _ in range(steps):
            assert session.redo()
        assert not session.redo()
        assert np.array_equal(on_disk(session).labels, truth) and session.labels.finished() == {"chair": 1}

    def test_a_new_step_forgets_what_was_undone(self, session):
        session.set_category("chair")
        session.fill(0)
        session.undo()
        session.fill(1)
        assert not session.redo() and (session.now.labels == 1).all()

    def test_another_scan_and_back_keeps_the_labels(self, session, truth):
        label_all(session, truth)
        session.open(1)
        assert session.now.category == ""
        session.open(0)
        assert np.array_equal(session.now.labels, truth)

    def test_turning_keeps_labels_and_turns_what_is_seen(self, session, truth):
        label_all(session, truth)
        before = session.scan.placed
        session.turn("z")
        assert np.array_equal(session.now.labels, truth)
        assert session.scan.placed[:, 1] == pytest.approx(before[:, 2], abs=1e-5)

    def test_proposed_labels_are_put_into_this_order_and_wait_for_a_person(self, session, truth):
        session.propose(said(session, truth))
        assert np.array_equal(session.now.labels, truth)
        assert session.labels.finished() == {} and not on_disk(session).checked
        session.select(session.pieces == 0)
        session.assign(3)
        assert session.labels.finished() == {}
        session.check()
        assert session.labels.finished() == {"chair": 1}

    def test_parts_that_are_not_known_here_stay_empty(self, session, truth):
        session.labels.add_category("stool")
        session.labels.add_part("stool", "leg")
        session.set_category("stool")
        session.propose(said(session, truth))
        assert np.array_equal(session.now.labels == 0, truth == 2)
        assert np.array_equal(session.now.labels == UNLABELLED, truth != 2)

    def test_labels_of_the_file_itself_are_a_start(self, tmp_path, folder, truth):
        session = Session(write_scans(tmp_path, "chair", 1, labelled=True), folder)
        session.set_category("chair")
        session.take_own()
        assert np.array_equal(session.now.labels, truth) and session.labels.finished() == {}


class TestRefused:
    def test_assigning_without_a_class_a_part_or_a_selection(self, session):
        with pytest.raises(PccloraError, match="which class"):
            session.assign(0)
        session.set_category("chair")
        with pytest.raises(PccloraError, match="nothing is selected"):
            session.assign(0)
        session.select(session.pieces == 0)
        with pytest.raises(PccloraError, match="has 4 parts, and none of number 5"):
            session.assign(4)
        assert (session.now.labels == UNLABELLED).all()

    def test_done_before_all_points_have_a_part(self, session):
        session.set_category("chair")
        with pytest.raises(PccloraError, match="100% of the points have no part"):
            session.check()

    def test_a_proposal_of_other_parts_or_of_none(self, session, truth):
        with pytest.raises(PccloraError, match="knows the parts a, b, c, d, and none of chair: back, seat"):
            session.propose(Prediction("run", "chair", {}, ("a", "b", "c", "d"), truth, np.ones(1, np.float32)))
        with pytest.raises(PccloraError, match="no class 'mug' here"):
            session.propose(Prediction("run", "mug", {}, ("a",), truth * 0, np.ones(1, np.float32)))
        with pytest.raises(PccloraError, match="predicts classes"):
            session.propose(Prediction("run", "chair", {"chair": 1.0}, (), None, np.ones(1, np.float32)))

    def test_a_file_without_labels_as_a_start(self, session):
        session.set_category("chair")
        with pytest.raises(PccloraError, match="no labels of its own"):
            session.take_own()

    def test_scans_that_lie_where_labels_are_written(self, folder):
        scan = write_scans(folder.root, "mug", 1)
        with pytest.raises(PccloraError, match="choose another --labels"):
            Session(scan, folder)

    def test_no_scan_at_all(self, folder):
        with pytest.raises(PccloraError, match="no scan was named"):
            Session([], folder)

    def test_a_scan_that_cannot_be_read_leaves_the_other_open(self, session):
        session.paths[1].write_text("no numbers\n")
        with pytest.raises(PccloraError):
            session.open(1)
        assert session.index == 0 and session.scan.path == session.paths[0]

    def test_a_run_on_photographs(self, scans, folder):
        session = Session(scans, folder, runs={"photos": SimpleNamespace(task="image", classes=("a",))})
        with pytest.raises(PccloraError, match="photos predicts photographs"):
            session.predict("photos")
