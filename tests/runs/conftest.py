"""Small finished runs, made once for all that only look at them."""

import pytest

from pcclora.runs.adapt import train
from pcclora.tasks.registry import load_run_config
from tests.tools.test_tools import TINY


def trained(folder, task, *words):
    """Train for an epoch, and return the run's folder."""
    return train(load_run_config(TINY / f"{task}.yaml", ["train.epochs=1", *words]), folder / task).path


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A run of each task on point clouds; nothing may write there."""
    root = tmp_path_factory.mktemp("runs")
    return {task: trained(root, task) for task in ("cls", "partseg")}
