"""What is installed without extras loads a finished run and predicts with it; what needs more says what."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pcclora.extras import EXTRAS
from pcclora.runs.adapt import train
from pcclora.tasks.registry import load_run_config

WITHOUT = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
ABSENT = set(sys.argv.pop(1).split(","))
sys.meta_path[:] = map(Without, sys.meta_path)
"""
COMMAND = "from pcclora.tools.command import main; sys.argv[0] = 'pcclora'; main()"
PYTHON = """
import numpy as np, pcclora
run = pcclora.load_run(sys.argv[1])
points = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
if run.task == "cls":
    print(run.predict(points).label in run.classes)
else:
    print(len(run.predict(points, category="chair").prediction))
"""


@pytest.fixture(scope="module", params=["cls", "partseg"])
def run(request, root, tmp_path_factory):
    config = load_run_config(root / "tests" / "tiny" / f"{request.param}.yaml", ["train.epochs=1"])
    return train(config, tmp_path_factory.mktemp("runs") / request.param).path


def bare(program, *words, cwd):
    """Run a program as if only the core were installed."""
    absent = {module for modules in EXTRAS.values() for module in modules} | {"scipy"}
    command = [sys.executable, "-c", WITHOUT + program, ",".join(sorted(absent)), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)


@pytest.mark.slow
def test_the_core_alone_predicts(run, tmp_path):
    np.savetxt(tmp_path / "scan.txt", np.random.default_rng(0).normal(size=(300, 3)))
    category = ["--category", "chair"] if run.name == "partseg" else []
    said = bare(COMMAND, "predict", "scan.txt", "--run", run, *category, cwd=tmp_path)
    assert said.returncode == 0 and said.stdout.startswith("scan.txt"), said.stderr
    said = bare(PYTHON, run, cwd=tmp_path)
    assert said.stdout.strip() == ("True" if run.name == "cls" else "300"), said.stderr


@pytest.mark.slow
def test_the_core_alone_says_what_more_needs(run, tmp_path):
    (tmp_path / "scan.las").write_bytes(b"LASF")
    category = ["--category", "chair"] if run.name == "partseg" else []
    for words, message in {
        ("train-cls", "--output", "run"): "a run needs accelerate: pip install 'pcclora[train]'",
        ("predict", "scan.las", "--run", run, *category): "scan.las needs laspy: pip install 'pcclora[las]'",
    }.items():
        said = bare(COMMAND, *words, cwd=tmp_path)
        assert said.returncode == 2 and message in said.stderr and "Traceback" not in said.stderr
    assert not (tmp_path / "run").exists()
    doctor = bare(COMMAND, "doctor", cwd=tmp_path)
    said = " ".join(doctor.stdout.split())  # it wraps its lines
    assert doctor.returncode == 0 and not [extra for extra in EXTRAS if f"pip install 'pcclora[{extra}]'" not in said]
