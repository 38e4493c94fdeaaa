"""``pcclora app``: what it refuses before anything is served, and one start with a warning and an address."""

import re
import sys
import time

import numpy as np
import pytest

from pcclora.errors import PccloraError
from pcclora.tools import app


@pytest.fixture
def start(monkeypatch, tmp_path, capsys):
    """Carry out a command line; the wait for Ctrl-C ends at once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans" / "a").mkdir(parents=True)
    np.savetxt(tmp_path / "scans" / "a" / "one.xyz", np.random.default_rng(0).random((50, 3)))

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["pcclora app", *words])
        monkeypatch.setattr(time, "sleep", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            app.main()
        return capsys.readouterr().out

    return run


def _interrupted(_seconds: float) -> None:
    raise KeyboardInterrupt


def test_it_tells_the_address_and_leaves_no_file_before_a_label_is_made(start, tmp_path):
    said = start("scans", "--port", "0")
    assert re.search(r"1 scan; labels: labels\nopen http://127\.0\.0\.1:\d+/\?token=\S{30,}\n", said)
    assert not (tmp_path / "labels").exists()


def test_another_host_is_warned_of(start, caplog):
    said = start("scans", "--port", "0", "--host", "0.0.0.0")  # noqa: S104
    assert "other machines can reach this port" in caplog.text
    assert "token=" in said


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "no scan was named"),
        (("nowhere.ply",), "nowhere.ply: no such file"),
        (("empty",), "no file below this folder can be read"),
        (("scans", "--run", "nowhere"), "nowhere: not a run folder"),
        (("scans", "--labels", "scans"), "lies in scans, where labels are written"),
        (("scans", "train.epoch=3"), "train.epoch"),
    ],
)
def test_what_cannot_be_is_one_sentence(start, tmp_path, monkeypatch, words, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(sys, "argv", ["pcclora app", *words, "--port", "0"])
    with pytest.raises(PccloraError, match=message):
        app.main()
