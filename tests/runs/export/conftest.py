"""Finished runs of each task, small enough for a test."""

from pathlib import Path

import pytest

from pcclora.runs.adapt import train
from pcclora.runs.reload import TrainedRun
from pcclora.tasks.registry import load_run_config

TINY = Path(__file__).parents[2] / "tiny"


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """``trained(task)`` -> a run of it, made once."""
    made: dict[str, TrainedRun] = {}

    def run(task: str) -> TrainedRun:
        if task not in made:
            config = load_run_config(TINY / f"{task}.yaml", ["train.epochs=1"])
            made[task] = TrainedRun(train(config, tmp_path_factory.mktemp(task) / "run"))
        return made[task]

    return run
