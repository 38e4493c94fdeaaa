"""What ``pcclora doctor`` says is so, and it says it where things are missing or broken."""

import re
import sys
import tomllib
from importlib import import_module

import pytest
import torch

import pcclora
from pcclora import ops
from pcclora.errors import PccloraError
from pcclora.extras import EXTRAS, of_extra, require_extra
from pcclora.ops import native
from pcclora.tools.doctor import DEPENDENCIES
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
    assert sorted(names) == sorted(DEPENDENCIES)
    extras = project["optional-dependencies"]
    assert extras.keys() - EXTRAS.keys() == {"all", "dev", "docs"}  # what names others, and is for who works on it
    modules = {"open3d-cpu": "open3d", "scikit-learn": "sklearn", "pcclora[html]": "k3d"}
    for extra, held in EXTRAS.items():
        asked = [re.split(r"[<>=;\s]", line)[0] for line in extras[extra]]
        own = set(asked) - {"pcclora[train]"}  # the application trains, and has an extra for its window alone
        assert {modules.get(name, name) for name in own} == set(held)


@pytest.mark.parametrize(("extra", "modules"), EXTRAS.items())
def test_an_extra_that_is_missing_is_named_with_the_line_that_installs_it(extra, modules, monkeypatch):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    line = rf"pip install 'pcclora\[{extra}\]'"
    with pytest.raises(PccloraError, match=rf"it needs {', '.join(modules)}: {line}"):
        require_extra(extra, "it")
    with pytest.raises(PccloraError, match=rf"it needs {modules[0]}: {line}"), of_extra(extra, "it"):
        import_module(modules[0])
    with pytest.raises(ModuleNotFoundError), of_extra(extra, "it"):
        import_module("pcclora.absent")


def test_it_works_where_the_kernel_and_the_extras_are_missing(said, monkeypatch, tmp_path):
    monkeypatch.delenv("PCCLORA_BACKEND", raising=False)
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "absent.so")
    for name in (module for modules in EXTRAS.values() for module in modules):
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
    assert found["[html]"].endswith("k3d does not load: no such operator") and "libx.so" in found["[peft]"]
