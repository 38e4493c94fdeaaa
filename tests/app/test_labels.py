"""Labels on the disk: the part folder's own form, whole after every step, and never those of another scan."""

from pathlib import Path

import numpy as np
import pytest

from pcclora.app import labels as labels_module
from pcclora.app.labels import UNLABELLED, LabelFolder, Labelling
from pcclora.app.scans import OpenScan
from pcclora.data import read_scan
from pcclora.data.sets.part_folder import PartFolderConfig, part_folder, read_names
from pcclora.errors import PccloraError
from tests.app.conftest import made, write_scans


def labelled(scan: OpenScan, labels, **more) -> Labelling:
    return Labelling("chair", np.asarray(labels, np.int16), **more)


@pytest.fixture
def scan(scans) -> OpenScan:
    return OpenScan(scans[0], "y")


@pytest.fixture
def truth() -> np.ndarray:
    return made("chair", 1)[0][1]


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_finished_scan_is_a_file_of_a_part_folder_and_a_draft_is_not(folder, scan, truth):
    folder.save(scan, labelled(scan, np.where(np.arange(len(scan)) < 5, UNLABELLED, truth)))
    assert files(folder.root) == [".drafts/chair/chair_0.safetensors", ".drafts/parts.yaml"]
    folder.save(scan, labelled(scan, truth))
    assert files(folder.root) == [".drafts/parts.yaml", "chair/chair_0.ply", "parts.yaml"]
    saved = read_scan(folder.root / "chair" / "chair_0.ply")
    assert np.array_equal(saved.labels, truth)
    assert saved.points == pytest.approx(scan.whole.points, rel=1e-6)


def test_what_is_written_trains(folder, scans):
    for path, (_, parts) in zip(scans, made("chair", 3), strict=True):
        scan = OpenScan(path, "y")
        folder.save(scan, labelled(scan, parts))
    data = [part_folder(PartFolderConfig(root=str(folder.root)), split=split) for split in ("train", "test")]
    assert [len(side) for side in data] == [2, 1]
    assert data[0].parts.names == ("chair: back", "chair: seat", "chair: leg", "chair: arm")


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("checked", [True, False])
def test_another_start_finds_all_again(folder, scan, truth, share, checked):
    given = labelled(scan, np.where(np.arange(len(scan)) < share * len(scan), truth, UNLABELLED), checked=checked)
    folder.save(scan, given)
    found = LabelFolder(folder.root).find(scan)
    assert (found.category, found.checked, found.finished) == ("chair", checked, share == 1 and checked)
    assert np.array_equal(found.labels, given.labels)


def test_a_proposal_is_not_trained_on(folder, scan, truth):
    folder.save(scan, labelled(scan, truth, checked=False))
    assert folder.finished() == {} and not (folder.root / "parts.yaml").exists()


def test_erasing_takes_a_finished_scan_out_of_the_folder(folder, scan, truth):
    folder.save(scan, labelled(scan, truth))
    folder.save(scan, labelled(scan, np.where(np.arange(len(scan)) == 7, UNLABELLED, truth)))
    assert folder.finished() == {}
    assert folder.find(scan).labels[7] == UNLABELLED


def test_a_scan_has_one_class(folder, scan, truth):
    folder.add_category("bench")
    folder.add_part("bench", "all")
    folder.save(scan, labelled(scan, truth))
    folder.save(scan, Labelling("bench", np.zeros(len(scan), np.int16)))
    assert folder.finished() == {"bench": 1}
    assert LabelFolder(folder.root).find(scan).category == "bench"


def test_a_part_that_comes_later_is_numbered_behind_the_others(folder, scan, truth):
    folder.save(scan, labelled(scan, truth))
    assert folder.add_part("chair", "wheel") == 4
    assert read_names(folder.root)["chair"] == ["back", "seat", "leg", "arm", "wheel"]


def test_names_of_the_users_own_parts_file_are_kept(tmp_path):
    root = tmp_path / "own"
    root.mkdir()
    (root / "parts.yaml").write_text("chair: [seat, back]\nmug: [handle, 'on']\n")
    labels = LabelFolder(root)
    labels.add_part("chair", "leg")
    assert read_names(root) == {"chair": ["seat", "back", "leg"], "mug": ["handle", "on"]}


def test_a_folder_with_sides_gets_scans_to_train_on(tmp_path, scan, truth):
    root = tmp_path / "sides"
    for side in ("train", "test"):
        (root / side / "chair").mkdir(parents=True)
    (root / "parts.yaml").write_text("chair: [back, seat, leg, arm]\n")
    LabelFolder(root).save(scan, labelled(scan, truth))
    assert (root / "train" / "chair" / "chair_0.ply").is_file()


def test_a_large_scan_gets_the_label_of_the_nearest_point_that_is_shown(folder, scan, truth, monkeypatch):
    monkeypatch.setattr("pcclora.app.scans.MOST_SHOWN", 400)
    large = OpenScan(scan.path, "y")
    assert len(large) == 400 < len(large.whole.points)
    folder.save(large, labelled(large, truth[large.kept]))
    saved = read_scan(folder.root / "chair" / "chair_0.ply").labels
    assert np.array_equal(saved[large.kept], truth[large.kept])
    distances = np.linalg.norm(large.whole.points[:, None] - large.points[None], axis=2)
    assert np.array_equal(saved, truth[large.kept][distances.argmin(axis=1)])
    assert np.array_equal(LabelFolder(folder.root).find(large).labels, truth[large.kept])


class TestRefused:
    @pytest.mark.parametrize("name", ["", "  ", "a/b", "..", ".hidden", "train", "Test", "a\nb", "x" * 61, "CHAIR"])
    def test_a_class_that_no_folder_can_be_called_after(self, folder, name):
        with pytest.raises(PccloraError, match="class"):
            folder.add_category(name)

    @pytest.mark.parametrize("name", ["", "Seat", "a\x1bb"])
    def test_a_part_without_a_name_or_with_one_that_is_taken(self, folder, name):
        with pytest.raises(PccloraError, match="part"):
            folder.add_part("chair", name)

    @pytest.mark.parametrize("finished", [True, False])
    def test_labels_of_another_scan_of_the_same_name(self, folder, scan, truth, tmp_path, finished):
        folder.save(scan, labelled(scan, truth, checked=finished))
        (tmp_path / "b").mkdir()
        other = tmp_path / "b" / "chair_0.xyz"
        np.savetxt(other, np.random.default_rng(0).random((len(scan), 3)))
        other = OpenScan(other, "y")
        for labels in (folder, LabelFolder(folder.root)):
            assert labels.find(other) is None
            with pytest.raises(PccloraError, match="of another cloud than .*b/chair_0.xyz; rename"):
                labels.save(other, labelled(other, truth))
        assert np.array_equal(LabelFolder(folder.root).find(scan).labels, truth)

    def test_labels_of_parts_that_have_no_name(self, folder, scan, truth):
        folder.save(scan, labelled(scan, truth))
        for file in (folder.root / "parts.yaml", folder.root / ".drafts" / "parts.yaml"):
            file.write_text("chair: [back, seat]\n")
        with pytest.raises(PccloraError, match=r"chair_0.ply: does not fit: 800 labels up to 3 .*back, seat"):
            LabelFolder(folder.root).find(scan)

    def test_a_damaged_draft(self, folder, scan, truth):
        folder.save(scan, labelled(scan, truth, checked=False))
        draft = folder.root / ".drafts" / "chair" / "chair_0.safetensors"
        draft.write_bytes(draft.read_bytes()[:-4])
        with pytest.raises(PccloraError, match="delete it to label the scan anew"):
            LabelFolder(folder.root).find(scan)

    def test_a_file_in_the_place_of_the_folder(self, tmp_path):
        (tmp_path / "labels").write_text("")
        with pytest.raises(PccloraError, match="is a file"):
            LabelFolder(tmp_path / "labels")


class Killed(BaseException):
    """What no ``except Exception`` holds up."""


WRITES = ("write_tensors", "write_text", "write_ply", "writing")
"""What :mod:`pcclora.app.labels` changes files by; that each is whole or not there is tested where it is written."""


@pytest.mark.parametrize("moment", range(6))
def test_a_kill_between_two_files_leaves_the_step_before_or_the_step_itself(folder, scan, truth, moment, monkeypatch):
    before = np.where(np.arange(len(scan)) < 400, truth, UNLABELLED).astype(np.int16)
    folder.save(scan, labelled(scan, before))
    left = iter([True] * moment)

    def dying(function):
        def wrapped(*arguments):
            if not next(left, False):
                raise Killed
            return function(*arguments)

        return wrapped

    with monkeypatch.context() as patched:
        for name in WRITES:
            patched.setattr(labels_module, name, dying(getattr(labels_module, name)))
        step = labelled(scan, np.full(len(scan), 2))
        if moment < 5:  # draft, names, names of the folder, cloud, and the draft goes
            with pytest.raises(Killed):
                folder.save(scan, step)
        else:
            folder.save(scan, step)
    found = LabelFolder(folder.root).find(scan)
    assert np.array_equal(found.labels, before if moment == 0 else step.labels)


def test_write_scans_can_label(tmp_path):
    path = write_scans(tmp_path, "mug", 1, labelled=True)[0]
    assert np.array_equal(OpenScan(path, "y").labels, made("mug", 1)[0][1])
