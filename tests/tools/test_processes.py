"""Several processes: ``accelerate launch`` on a CPU, and seeds trained at the same time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "tiny"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines=1"]
LAUNCH += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
KILLER = """
import os, signal
from pcclora.engine import checkpoint
real, saved = checkpoint.save, []
def save(path, state):
    real(path, state)
    saved.append(path)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save = save
"""

pytestmark = pytest.mark.slow


def run(*arguments, processes=1, expected=0):
    start = [*LAUNCH, f"--num_processes={processes}"] if processes > 1 else [sys.executable]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*start, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode == 0) == (expected == 0), done.stderr
    return done


def train(*arguments, task="cls", **options):
    return run(ROOT / "tools" / f"train_{task}.py", *arguments, **options)


@pytest.mark.parametrize("task", ["cls", "partseg"])
def test_two_processes_predict_what_one_does(tmp_path, task):
    """19 test objects in batches of 8: three batches for two processes, and the last of them is not full."""
    train("--config", TINY / f"{task}.yaml", "train.epochs=1", "--output", tmp_path / "run", task=task)
    for processes in (1, 2):
        evaluate = [ROOT / "tools" / "evaluate.py", "--run", tmp_path / "run", "--output", tmp_path / str(processes)]
        run(*evaluate, processes=processes)
    assert len((tmp_path / "1" / "predictions.csv").read_text().splitlines()) == 1 + 19
    for name in ["predictions.csv", "predicted_parts.safetensors"][: 1 if task == "cls" else 2]:
        one, two = ((tmp_path / n / name).read_bytes() for n in ("1", "2"))
        assert one == two == (tmp_path / "run" / name).read_bytes()


def test_two_processes_train_save_and_resume(tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    train("--config", TINY / "cls.yaml", "--output", tmp_path / "whole", processes=2)
    killed = ["--config", TINY / "cls.yaml", "--plugin", tmp_path / "killer.py", "--output", tmp_path / "killed"]
    train(*killed, processes=2, expected=1)
    assert not (tmp_path / "killed" / "summary.json").exists()
    refused = train("--resume", tmp_path / "killed", expected=1)
    assert "begun on 2 processes, not 1" in refused.stderr
    train("--resume", tmp_path / "killed", processes=2)
    for name in ("metrics.csv", "checkpoint/last.safetensors", "predictions.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
    assert json.loads((tmp_path / "whole" / "versions.json").read_text())["processes"] == 2


def test_seeds_at_the_same_time_are_the_seeds_one_by_one(tmp_path):
    for jobs in (1, 2):
        arguments = ["--config", TINY / "cls.yaml", "--seeds", "0", "1", "train.epochs=2", "--jobs", jobs]
        train(*arguments, "--output", tmp_path / str(jobs))
    for seed in (0, 1):
        one, two = (tmp_path / str(jobs) / f"seed_{seed}" / "metrics.csv" for jobs in (1, 2))
        assert one.read_bytes() == two.read_bytes()
