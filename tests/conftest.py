"""What every test may use: the folder of shared real data and golden outputs, where it lies beside the checkout."""

import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.stand_in_hub import Hub

settings.register_profile("no deadline", deadline=None)  # a loaded machine is slow, not wrong
settings.load_profile("no deadline")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
SITE = str(ROOT / "tests" / "cpu_torchvision")

if SITE not in [str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)]:
    # processes that tests start need it as well
    os.environ["PYTHONPATH"] = os.pathsep.join([SITE, *filter(None, [os.environ.get("PYTHONPATH")])])
    runpy.run_path(f"{SITE}/sitecustomize.py")


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


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator["Hub"]:
    """A Hugging Face hub of this machine, for this test alone, on which the test is logged in as the owner."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub is not installed")
    from tests.stand_in_hub import TOKEN, serving

    with serving() as hub:
        home = tmp_path_factory.mktemp("huggingface")
        for name, value in hub.settings(home).items():  # of processes, and of this one, which has read them
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture(autouse=True)
def only_our_own_stay_registered() -> Iterator[None]:
    """What a test registers, as by a plugin, is gone after it: others go through all that there is."""
    yield
    from pcclora.registry import ADAPTERS, DATASETS, MODELS

    for registry in (ADAPTERS, DATASETS, MODELS):
        for name, entry in list(registry._entries.items()):
            if not entry.config.__module__.startswith("pcclora."):
                del registry._entries[name]


def _beside(name: str, what: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{what} not beside the checkout: {SHARED.name}/{name}")
    return folder
