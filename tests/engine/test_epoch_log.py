"""What is seen of a run while it trains."""

import os

import pytest

from pcclora.engine.epoch_log import EpochLog
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError

TIMING = {"train_seconds": 0.5, "peak_memory_mb": 2.0}


def log(folder, epochs):
    with EpochLog(RunFolder(folder), 3, 1, 0, active=True) as own:
        for epoch in epochs:
            own.write({"epoch": epoch, "train_loss": 1 / epoch, "test_loss": None}, TIMING)


@pytest.mark.parametrize("name", ["timing", "metrics"])
def test_a_full_disk_is_one_message(tmp_path, name):
    """Of two files the one that /dev/full stands for."""
    os.symlink("/dev/full", getattr(RunFolder(tmp_path), name))
    with pytest.raises(PccloraError, match=rf"{name}.*: cannot be written: No space left on device; make room there"):
        log(tmp_path, [1])


def test_without_stderr_nothing_is_shown_and_all_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    log(tmp_path, [1, 2, 3])
    assert len(RunFolder(tmp_path).metrics.read_text().splitlines()) == 4
