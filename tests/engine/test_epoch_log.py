"""What is seen of a run while it trains."""

import errno
import os

import pytest

from pcclora.engine.epoch_log import EpochLog
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError

TIMING = {"train_seconds": 0.5, "peak_memory_mb": 2.0}


def log(folder, epochs, *, done=0):
    with EpochLog(RunFolder(folder), 3, 1, done, active=True) as own:
        for epoch in epochs:
            own.write({"epoch": epoch, "train_loss": 1 / epoch, "test_loss": None}, TIMING)


def test_tensorboard_reads_the_curves_and_forgets_what_is_trained_again(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(tmp_path, [1, 2])
    log(tmp_path, [2, 3], done=1)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["peak/memory_mb", "train/loss", "train/seconds"]
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert found == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]


@pytest.mark.parametrize("name", ["timing", "metrics", "events"])
def test_a_full_disk_is_one_message(tmp_path, monkeypatch, name):
    """Of three files the one that /dev/full stands for."""
    if name == "events":

        def refuse(*_args, **_kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", refuse)
    else:
        os.symlink("/dev/full", getattr(RunFolder(tmp_path), name))
    with pytest.raises(PccloraError, match=rf"{name}.*: cannot be written: No space left on device; make room there"):
        log(tmp_path, [1])


def test_without_stderr_nothing_is_shown_and_all_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    log(tmp_path, [1, 2, 3])
    assert len(RunFolder(tmp_path).metrics.read_text().splitlines()) == 4
