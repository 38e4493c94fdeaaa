"""`import pcclora` is light: what a user does not ask for is not loaded."""

import subprocess
import sys

import pytest

HEAVY = """torchvision timm transformers open3d sklearn matplotlib scipy h5py accelerate trimesh laspy peft tensorboard
joblib"""


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(' '.join(m for m in sys.modules if '.' not in m))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["pcclora", "pcclora.models", "pcclora.adapters", "pcclora.data", "pcclora.engine"])
def test_importing_loads_nothing_heavy(module):
    assert _loaded_by(f"import {module}") & set(HEAVY.split()) == set()


def test_public_names_exist_and_are_documented():
    import pcclora

    for name in pcclora.__all__:
        assert getattr(pcclora, name).__doc__, name


def test_the_datasets_folder_is_not_a_package(root):
    assert not list(root.glob("datasets/**/__init__.py"))
