"""`import pcclora` is light: what a user does not ask for is not loaded."""

import os
import subprocess
import sys

import numpy as np
import pytest

HEAVY = """torchvision timm transformers open3d sklearn matplotlib scipy h5py accelerate trimesh laspy peft tensorboard
joblib"""


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(' '.join(m for m in sys.modules if '.' not in m))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


POINT_CLOUDS = """
train_cls --config tests/tiny/cls.yaml train.epochs=1 --output OUTPUT/cls
predict OUTPUT/cloud.npy --run OUTPUT/cls
evaluate --run OUTPUT/cls
train_partseg --config tests/tiny/partseg.yaml train.epochs=1 --output OUTPUT/partseg
visualize --run OUTPUT/partseg --index 0 --png OUTPUT/shape.png
fewshot --config tests/tiny/fewshot.yaml folds=1 train.epochs=1 --output OUTPUT/fewshot
"""
ALL_IN_ONE_PROCESS = """
import runpy, sys
for line in open(0):
    tool, *words = line.split()
    sys.argv = [tool, *words]
    runpy.run_path(f"tools/{tool}.py", run_name="__main__")
assert "pcclora.studies.fewshot.study" in sys.modules
print("imported:", *{"timm", "torchvision"} & sys.modules.keys())
"""


@pytest.mark.parametrize(
    "module",
    [
        "pcclora",
        "pcclora.models",
        "pcclora.adapters",
        "pcclora.data",
        "pcclora.engine",
        "pcclora.tasks",
        "pcclora.runs",
        "pcclora.studies",
    ],
)
def test_importing_loads_nothing_heavy(module):
    assert _loaded_by(f"import {module}") & set(HEAVY.split()) == set()


@pytest.mark.slow
def test_point_clouds_need_neither_timm_nor_torchvision(root, tmp_path):
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).random((64, 3)))
    commands = POINT_CLOUDS.strip().replace("OUTPUT", str(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}  # without what lets torchvision in
    run = [sys.executable, "-c", ALL_IN_ONE_PROCESS]
    done = subprocess.run(run, input=commands, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["imported:"]


def test_public_names_exist_and_are_documented():
    import pcclora

    for name in pcclora.__all__:
        assert getattr(pcclora, name).__doc__, name


def test_the_datasets_folder_is_not_a_package(root):
    assert not list(root.glob("datasets/**/__init__.py"))
