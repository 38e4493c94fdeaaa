"""Trainings that are refused, that fail, and whose files are read while they grow; test_browser has one to its end."""

import numpy as np
import pytest

from pcclora.app.adapting import Training
from pcclora.app.labels import Labelling
from pcclora.app.scans import OpenScan
from pcclora.errors import PccloraError


@pytest.fixture
def labelled(folder, scans):
    """Two finished scans."""
    for path in scans[:2]:
        scan = OpenScan(path, "y")
        folder.save(scan, Labelling("chair", np.zeros(len(scan), np.int16)))
    return folder


class Stub:
    """A process that runs until it is told its end."""

    pid, returncode = 0, None

    def poll(self):
        return self.returncode


@pytest.fixture
def training(labelled, tmp_path, monkeypatch) -> Training:
    """One whose process is a stub, and whose command can be seen."""
    monkeypatch.setattr("subprocess.Popen", lambda line, **options: setattr(Stub, "line", line) or Stub())
    settings = ["adapter=lora", "train.epochs=4"]
    return Training(labelled, what="parts", up="z", settings=settings, output=tmp_path / "runs" / "one")


def test_it_is_the_ordinary_command_on_the_label_folder(training, labelled):
    words = training._process.line[3:]
    assert words[:4] == ["train-partseg", "data=part_folder", f"data.root={labelled.root}", "data.up=z"]
    assert words[4:] == ["adapter=lora", "train.epochs=4", "--output", str(training.folder.path)]


def test_progress_is_read_from_the_runs_files(training):
    assert training.running
    assert (training.progress().done, training.progress().epochs, training.progress().left) == (0, 4, None)
    training.folder.path.mkdir(parents=True)
    training.folder.metrics.write_text("epoch,train_loss\n1,2.5\n2,1.5\n")
    training.folder.timing.write_text("epoch,train_seconds,peak_memory_mb\n1,3.0,10\n2,5.0,10\n")
    found = training.progress()
    assert (found.done, found.left, found.metrics["train_loss"]) == (2, pytest.approx(8.0), 1.5)
    training.folder.metrics.write_text("epoch,train_loss\n1,2.5\n2,1.5\n3")  # a line that is being written
    assert training.progress().done == 0


def test_what_a_failed_process_has_said_is_told(training, monkeypatch):
    training._log.write_text("some line\nerror: the disk is full\n")
    assert training.error == ""
    monkeypatch.setattr(Stub, "returncode", 2)
    assert not training.running and training.error == "error: the disk is full"


class TestRefused:
    def test_nothing_finished_or_one_scan_alone(self, folder, scans):
        with pytest.raises(PccloraError, match="no scan is finished yet"):
            Training(folder, what="parts", up="y")
        scan = OpenScan(scans[0], "y")
        folder.save(scan, Labelling("chair", np.zeros(len(scan), np.int16)))
        with pytest.raises(PccloraError, match="finish a second one"):
            Training(folder, what="parts", up="y")

    def test_classes_of_one_class(self, labelled):
        with pytest.raises(PccloraError, match="all finished scans are of one class"):
            Training(labelled, what="classes", up="y")

    def test_a_setting_that_is_none(self, labelled):
        with pytest.raises(PccloraError, match="epoch"):
            Training(labelled, what="parts", up="y", settings=["train.epoch=3"])
