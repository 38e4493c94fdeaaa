"""What every test may use: the folder of shared real data and golden outputs, where it lies beside the checkout."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # a loaded machine is slow, not wrong
settings.load_profile("no deadline")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real point clouds in official file forms; not part of the project."""
    return _beside("data", "real data")


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Inputs and outputs of the original implementations; not part of the project."""
    return _beside("goldens", "golden outputs of the original implementations")


def _beside(name: str, what: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{what} not beside the checkout: {SHARED.name}/{name}")
    return folder
