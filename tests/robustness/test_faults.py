"""The disk is full, the place is read-only, a signal comes, a bit flips: nothing is lost, and one message says it.

``python -m pytest tests/robustness/test_faults.py -m "slow or long" -s`` tries more moments, sizes and bits than the
tests do, and prints how many of each.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from pcclora.models import load as checkpoints
from tests.conftest import ROOT
from tests.robustness.children import Tool, call, enlarge, mounted, read_only, train, training
from tests.robustness.guard import READ, REFUSED, Answer, Guard, wait_for
from tests.robustness.kinds import SETS, XYZ
from tests.robustness.run_kinds import RUNS, load_adapter, save_adapter
from tests.robustness.test_kill import assert_equal

EPOCHS = "train.epochs=4"


def long(*values):
    """Parameters that only the long trials have."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing has happened to."""
    home = tmp_path_factory.mktemp("whole")
    done = train(home / "run", EPOCHS, home=home)
    assert done.code == 0, done.err
    np.savetxt(home / "scan.txt", np.repeat(XYZ, 4, axis=0))
    return home / "run"


@pytest.fixture
def equal(whole):
    """Compares a run with it, bit for bit."""
    return partial(assert_equal, "cls", whole)


def go_on(folder, home):
    """Resume what was begun, or begin it where nothing was."""
    if (folder / "config.yaml").exists():
        return call("train_cls", "--resume", folder, home=home)
    return train(folder, EPOCHS, home=home)


@pytest.mark.parametrize("kilobytes", [*slow(120, 420), *long(4, 40, 80, 160, 240, 320, 360, 400, 460, 520, 700)])
def test_a_full_disk_while_training(kilobytes, tmp_path, equal):
    with mounted(tmp_path / "disk", kilobytes=kilobytes) as disk:
        done = train(disk / "run", EPOCHS, home=tmp_path)
        assert done.clear and (done.code == 2 or kilobytes > 300), done.err
        enlarge(disk)
        if done.code == 2:
            assert go_on(disk / "run", tmp_path).code == 0
        equal(disk / "run")
        left = [path.name for path in (disk / "run").rglob(".*")]
        assert not left


@pytest.mark.parametrize("limit", [*slow(20_000), *long(0, 100, 1000, 5000, 10_000, 40_000, 60_000, 80_000, 120_000)])
def test_a_file_that_may_not_be_so_large(limit, tmp_path, equal):
    done = train(tmp_path / "run", EPOCHS, home=tmp_path, file_limit=limit + 4096)  # what it says is a file, too
    assert done.clear, done.err
    if done.code == 2:
        assert go_on(tmp_path / "run", tmp_path).code == 0
    equal(tmp_path / "run")


def save_another(folder: Path) -> Answer:
    """Save an adapter over another, on a disk that may be full."""
    save_adapter("clora", folder)
    return {}


@pytest.mark.parametrize("sizes", [*slow(8), *long(100)])
def test_a_full_disk_while_saving_an_adapter(sizes, tmp_path, capsys):
    """Over an adapter of another method: at any size the old one is there, or the new one."""
    guard, found = Guard(), Counter()
    old, new = (load(name, tmp_path / name) for name in ("lora", "clora"))
    held = [sum(file.stat().st_size for file in (tmp_path / name).rglob("*")) for name in ("lora", "clora")]
    try:
        for bytes_free in np.linspace(0, 1.2 * held[1], sizes):
            with mounted(tmp_path / "disk", kilobytes=16 + int((held[0] + bytes_free) / 1024)) as disk:
                shutil.copytree(tmp_path / "lora" / "adapter", disk / "adapter")
                outcome = guard.run(save_another, disk)
                assert outcome.what in (READ, REFUSED), outcome
                there = guard.run(load_adapter, disk).digest
                assert there == new if outcome.what == READ else there in (old, new)
                found[outcome.what, "new" if there == new else "old"] += 1
                left = [path.name for path in disk.rglob(".*")]
                assert not left
    finally:
        guard.close()
    with capsys.disabled():
        print(f"\nfull disks while saving: {dict(found)}")
    assert found[REFUSED, "old"] and found[READ, "new"]


def load(name, folder):
    """Save an adapter and return the digest of what is read of it."""
    folder.mkdir()
    save_adapter(name, folder)
    guard = Guard()
    try:
        return guard.run(load_adapter, folder).digest
    finally:
        guard.close()


@pytest.mark.slow
def test_read_only_places(whole, tmp_path):
    """What needs to write says that it cannot; what only reads works."""
    place = tmp_path / "place"
    shutil.copytree(whole, place / "run")
    scan, run = whole.parent / "scan.txt", place / "run"
    with read_only(place):
        assert call("predict", scan, "--run", run, home=tmp_path).code == 0
        assert call("evaluate", "--run", run, home=tmp_path).code == 0
        assert call("results", run, home=tmp_path).clear
        refused = [
            train(place / "new", EPOCHS, home=tmp_path),
            call("evaluate", "--run", run, "--output", place / "new", home=tmp_path),
            call("visualize", scan, "--png", place / "a.png", home=tmp_path),
        ]
    (run / "summary.json").unlink()
    with read_only(place):
        refused.append(call("train_cls", "--resume", run, home=tmp_path))
    for done in refused:
        assert done.clear and done.code == 2, done.err
    assert call("train_cls", "--resume", run, home=tmp_path).code == 0


@pytest.mark.parametrize("name", [*slow("SIGTERM"), *long("SIGINT", "SIGHUP")])
@pytest.mark.parametrize("rows", [*slow(2), *long(1, 3)])
def test_a_signal_while_training(name, rows, tmp_path, equal):
    number, metrics = signal.Signals[name], tmp_path / "run" / "metrics.csv"
    tool = Tool("train_cls", *training(tmp_path / "run", EPOCHS), home=tmp_path)
    assert wait_for(lambda: metrics.is_file() and metrics.read_text().count("\n") > rows)
    os.kill(tool.process.pid, number)
    done = tool.ended()
    assert done.code in (128 + number, 0), done  # 0: it was through already
    assert "Traceback" not in done.err
    assert done.code == 0 or "--resume" in done.err
    assert go_on(tmp_path / "run", tmp_path).code == 0
    equal(tmp_path / "run")


@pytest.mark.long
def test_a_long_run_takes_no_more_and_more(tmp_path, capsys):
    """200 epochs, each with a test and a checkpoint: memory, open files and threads at the 20th and at the 190th."""
    metrics, taken = tmp_path / "run" / "metrics.csv", []
    tool = Tool("train_cls", *training(tmp_path / "run", "train.epochs=200"), home=tmp_path)
    for rows in (20, 190):
        assert wait_for(lambda rows=rows: metrics.is_file() and metrics.read_text().count("\n") > rows, 300)
        place = Path("/proc") / str(tool.process.pid)
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        memory, threads = (int(status[name].split()[0]) for name in ("VmRSS", "Threads"))
        taken.append((memory / 1024, threads, len(list((place / "fd").iterdir()))))
    assert tool.ended(300).code == 0
    (early, threads, files), (late, *rest) = taken
    with capsys.disabled():
        print(f"\n200 epochs: {early:.1f} MB, then {late:.1f} MB; files {files}, then {rest[1]}")
    assert late - early < 16 and rest[0] <= threads + 1 and abs(rest[1] - files) <= 2


STREAMS = {
    "closed": ">&-",
    "full": ">/dev/full",
    "all closed": "<&- >&- 2>&-",
    "errors full": "2>/dev/full",
    "read by nobody": "| true",
    "ascii": "PYTHONIOENCODING=ascii",
    "cp1252": "PYTHONIOENCODING=cp1252",
    "C": "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
}


@pytest.mark.parametrize("stream", [*slow("ascii", "full"), *long(*(set(STREAMS) - {"ascii", "full"}))])
def test_streams_and_consoles(stream, whole, tmp_path):
    """A run is worth more than what is said of it."""
    how, before = STREAMS[stream], ""
    if "=" in how:
        how, before = "", how
    words = [sys.executable, str(ROOT / "tools" / "train_cls.py"), *map(str, training(tmp_path / "run", EPOCHS))]
    line = f"{before} {' '.join(words)} {how}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=300)
    told = (done.stdout + done.stderr).decode("latin-1")
    assert "Traceback" not in told and done.returncode in (0, 2), told
    assert_equal("cls", whole, tmp_path / "run")


ODD = ["a b", 'it\'s "it"', "two\nlines", "$HOME", "*", "-x", "; true", "%s{0}", "é椅", "~", "x" * 120]


@pytest.mark.parametrize("name", [*slow("two\nlines", "-x"), *long(*(set(ODD) - {"two\nlines", "-x"}))])
def test_odd_paths(name, tmp_path, equal):
    place = tmp_path / name
    place.mkdir()
    np.savetxt(place / "-scan.txt", np.repeat(XYZ, 4, axis=0))
    assert train(place / "run", EPOCHS, home=tmp_path).code == 0
    equal(place / "run")
    (place / "run" / "summary.json").unlink()
    assert call("train_cls", "--resume", place / "run", home=tmp_path).code == 0
    equal(place / "run")
    assert call("predict", "--run", place / "run", "--", place / "-scan.txt", home=tmp_path).code == 0


@pytest.mark.slow
def test_a_path_that_is_no_text(tmp_path):
    """A byte that is not UTF-8: it works, or is refused by one message."""
    place = tmp_path / os.fsdecode(b"byte \xff")
    place.mkdir()
    done = train(place / "run", EPOCHS, home=tmp_path)
    assert done.clear, done.err


def bundled(folder: Path) -> Answer:
    """Read weights as those that come with the package."""
    checkpoints.WEIGHTS = folder
    checkpoints.bundled_weights("point_mae_tiny")
    return {}


def copy_bundled(folder: Path) -> None:
    shutil.copy(checkpoints.WEIGHTS / "point_mae_tiny.safetensors", folder)


FLIPPED = {
    "adapter": (RUNS["adapter clora"].make, "adapter/adapter_model.safetensors", load_adapter),
    "checkpoint": (RUNS["checkpoint"].make, "last.safetensors", RUNS["checkpoint"].read),
    "prepared data": (SETS["prepared"].make, "modelnet40_train.safetensors", SETS["prepared"].read),
    "prepared parts": (SETS["prepared parts"].make, "shapenetpart_train.safetensors", SETS["prepared parts"].read),
    "bundled weights": (copy_bundled, "point_mae_tiny.safetensors", bundled),
}


@pytest.mark.parametrize("count", [*slow(4), *long(100)])
@pytest.mark.parametrize("kind", FLIPPED)
def test_a_flipped_bit_is_found(kind, count, tmp_path, capsys):
    """Anywhere in the file: refused, each time."""
    make, name, read = FLIPPED[kind]
    draw, guard, missed = Random(count), Guard(), []
    (tmp_path / "a").mkdir()
    make(tmp_path / "a")
    content = (tmp_path / "a" / name).read_bytes()
    try:
        assert guard.run(read, tmp_path / "a").what == READ
        for _ in range(count):
            place, bit = draw.randrange(len(content)), draw.randrange(8)
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            (tmp_path / "a" / name).write_bytes(damaged)
            outcome = guard.run(read, tmp_path / "a")
            if outcome.what != REFUSED:
                missed.append((place, bit, outcome))
    finally:
        guard.close()
    with capsys.disabled():
        print(f"\nflipped bits found, {kind}: {count - len(missed)} of {count}")
    assert not missed


@pytest.mark.parametrize("workers", [*slow(2), *long(1, 3)])
def test_the_number_of_workers_changes_nothing(workers, tmp_path, equal):
    assert train(tmp_path / "run", EPOCHS, f"train.workers={workers}", home=tmp_path).code == 0
    equal(tmp_path / "run")


@pytest.mark.parametrize("attempt", [*slow(0), *long(*range(1, 6))])
def test_two_processes_and_one_output(attempt, tmp_path, equal):
    homes = [tmp_path / name for name in ("first", "second")]
    for home in homes:
        home.mkdir()
    tools = [Tool("train_cls", *training(tmp_path / "run", EPOCHS), home=home) for home in homes]
    ended = [tool.ended() for tool in tools]
    assert sorted(done.code for done in ended) == [0, 2], ended
    assert all(done.clear for done in ended), ended
    equal(tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "first", "second"}


@pytest.mark.parametrize("rate", [*slow("1e6"), *long("1e3", "1e10", "1e30", "1e38")])
def test_a_diverged_model_gets_no_accuracy(rate, tmp_path):
    """It is refused, or all that is said of it is finite."""
    overrides = ["train.epochs=1", "train.warmup_epochs=0", "train.clip=0", f"train.lr={rate}"]
    done = train(tmp_path / "run", *overrides, home=tmp_path)
    assert done.clear, done.err
    assert (done.code == 0) == (tmp_path / "run" / "summary.json").exists()
    if done.code == 0:
        told = [(tmp_path / "run" / name).read_text() for name in ("metrics.csv", "predictions.csv", "summary.json")]
        assert "nan" not in "".join(told).lower() and "inf" not in "".join(told).lower()
