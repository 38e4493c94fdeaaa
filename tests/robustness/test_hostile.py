"""Hostile files run nothing, open nothing elsewhere and write nothing; each is read as data, or is one clear error.

The table of what came of each group: ``python -m pytest tests/robustness/test_hostile.py -m "slow or long" -s``.
"""

import os
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from functools import partial

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.robustness.guard import READ, REFUSED, Guard
from tests.robustness.hostile import SECRET, Traps, everything, watched
from tests.robustness.run_kinds import make_run
from tests.vis.names import NASTY

SHADOWED = (
    *("numpy", "torch", "json", "yaml", "PIL", "matplotlib", "trimesh", "h5py", "laspy", "pypcd4", "safetensors"),
    *("omegaconf", "pcclora", "random", "pickle", "zipfile", "csv", "gzip", "sitecustomize", "usercustomize", "tqdm"),
)


@pytest.fixture(scope="module")
def traps(tmp_path_factory):
    return Traps(tmp_path_factory.mktemp("traps"))


@pytest.fixture(scope="module")
def guard(traps):
    guard = Guard(PATH=f"{traps.programs}{os.pathsep}{os.environ['PATH']}", PCCLORA_SECRET=str(SECRET))
    yield guard
    guard.close()


def test_the_traps_work(traps):
    """Who opens the secret is seen, and so is who runs a program."""
    traps.set()
    assert not traps.sprung
    traps.secret.read_text()
    subprocess.run([traps.programs / "gs"], check=True)
    assert len(traps.sprung) == 2
    traps.set()


@pytest.mark.slow
def test_nothing_is_run_opened_or_written(traps, guard, tmp_path, capsys):
    found, bad, items = Counter(), [], everything(traps)
    for item in items:
        folder = tmp_path / "data" / "set"
        folder.mkdir(parents=True)
        item.make(folder)
        traps.set()
        outcome = guard.run(partial(watched, item.read), folder)
        told = [*traps.sprung, *outcome.started]
        told += [f"{path} was written" for path in tmp_path.rglob("canary*")]
        shutil.rmtree(tmp_path / "data")
        told += ["its message has the secret"] if str(SECRET) in outcome.detail else []
        found[outcome.what if not told else "obeyed"] += 1
        if told or outcome.what not in (READ, REFUSED):
            bad.append(f"{item.name}: {outcome.what} {told}: {outcome.detail}")
    with capsys.disabled():
        print(f"\n{len(items)} hostile files: {dict(found)}")
    assert len(items) >= 134
    assert not bad, "\n".join(bad)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile run")
    make_run(folder)
    return folder / "run"


@pytest.mark.slow
def test_modules_beside_the_data_are_not_imported(traps, run, tmp_path):
    traps.set()
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text(traps.script.read_text())
    np.savetxt(tmp_path / "a.txt", np.random.default_rng(0).normal(size=(80, 3)))
    tool = [sys.executable, str(ROOT / "tools" / "predict.py"), "a.txt", "--run", str(run)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, os.environ.get("PYTHONPATH", "").split(":"))),
    }
    done = subprocess.run(tool, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not traps.sprung


@pytest.mark.slow
def test_a_terminal_obeys_no_name(run, tmp_path):
    """Names of files that are refused, and of files that are read."""
    names = [name for name in NASTY if name.strip() and "/" not in name and len(name) < 200]
    for name in names:
        (tmp_path / f"{name}.txt").write_text("no points")
        np.savetxt(tmp_path / f"{name}.xyz", np.random.default_rng(0).normal(size=(80, 3)))
    for files, code in ((tmp_path.glob("*.txt"), 2), (tmp_path.glob("*.xyz"), 0)):
        tool = [sys.executable, str(ROOT / "tools" / "predict.py"), "--run", str(run), "--", *sorted(map(str, files))]
        done = subprocess.run(tool, capture_output=True, timeout=300)
        shown = (done.stdout + done.stderr).decode()
        assert done.returncode == code, shown
        obeyed = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - set("\n\t")
        assert not obeyed, shown
