"""What ``pcclora doctor`` says is so, and it says it where things are missing or broken."""

import re
import sys
import tomllib

import pytest
import torch

import pcclora
from pcclora import ops
from pcclora.ops import native
from pcclora.tools.doctor import DEPENDENCIES, EXTRAS
from tests.tools.test_command import pcclora as command


@pytest.fixture
def said(capsys):
    """Run it; returns label -> what it says."""

    def run():
        assert command("doctor") == 0
        out, err = capsys.readouterr()
        assert not err
        return labels_of(out)

    return run


def labels_of(said):
    """Label -> what stands behind it, wrapped or not."""
    whole = said.replace("\n" + " " * 13, " ")
    return {line[:12].rstrip(): line[13:] for line in whole.splitlines()}


def test_it_says_what_is_so(said, root, monkeypatch):
    monkeypatch.delenv("PCCLORA_BACKEND", raising=False)
    found = said()
    assert found["pcclora"] == f"{pcclora.__version__}, {root / 'pcclora'}"
    assert found["Python"].startswith(sys.version.split()[0]) and f"torch {torch.__version__}" in found["installed"]
    assert found["ops on cpu"] == ops.backends()["cpu"]
    assert found["threads"].startswith(f"{torch.get_num_threads()} of ")
    assert ("cuda" in found) == (not torch.cuda.is_available())
    assert str(root / "configs") in found["configs"] and str(root / "datasets") in found["cards"]
    assert "missing" not in found and {f"[{extra}]" for extra in EXTRAS} <= set(found)


def test_it_knows_what_pyproject_asks_for(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\s<>=!;]", line)[0] for line in project["dependencies"]]
    own = [name for line in names for name in line.replace("[", " ").replace("]", "").split()]  # laspy[lazrs]
    assert sorted(own) == sorted(DEPENDENCIES)
    for extra, lines in project["optional-dependencies"].items():
        if extra not in ("dev", "docs"):  # for who works on it
            asked = {re.split(r"[<>=;\s]", line)[0].removesuffix("-cpu") for line in lines}
            assert asked == set(EXTRAS[extra])


def test_it_works_where_the_kernel_and_the_extras_are_missing(said, monkeypatch, tmp_path):
    monkeypatch.delenv("PCCLORA_BACKEND", raising=False)
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "absent.so")
    for name in ("timm", "torchvision", "open3d", "k3d", "peft", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    native._load.cache_clear()
    try:
        found = said()
    finally:
        native._load.cache_clear()
    assert found["ops on cpu"].startswith("torch: the package was built without a C++ compiler")
    for extra in EXTRAS:
        assert f"pip install 'pcclora[{extra}]'" in found[f"[{extra}]"]


def test_a_wrong_backend_is_said_and_no_end(said, monkeypatch):
    monkeypatch.setenv("PCCLORA_BACKEND", "tocrh")
    assert "did you mean 'torch'" in said()["ops"]


def test_a_library_that_does_not_load_is_said(said, monkeypatch, tmp_path):
    for name, error in {"k3d": "RuntimeError('no such operator\\nand more')", "peft": "OSError('libx.so')"}.items():
        (tmp_path / f"{name}.py").write_text(f"raise {error}\n")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    found = said()
    assert found["[vis]"].endswith("k3d does not load: no such operator") and "libx.so" in found["[peft]"]
