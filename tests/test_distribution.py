"""What is installed from a wheel does the main job outside the checkout, with and without a C++ compiler."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.tools.test_doctor import labels_of

NOT_SHIPPED = (".*", "build", "tests", "docs", "*.egg-info", "__pycache__", "*.so", "*.dll")
SHORT = ("train.epochs=1", "data.train=48", "data.test=16", "data.points=256", "points=256")
NO_COMPILER = dict.fromkeys(("CC", "CXX", "LDSHARED", "LDCXXSHARED"), "/absent/compiler")


@pytest.fixture(scope="module")
def sdist(root, tmp_path_factory) -> Path:
    """The source distribution, built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    not_shipped = shutil.ignore_patterns(*NOT_SHIPPED)

    def left_out(place, names):
        return not_shipped(place, names) | ({"runs"} if Path(place) == root else set())  # pcclora/runs is a room

    shutil.copytree(root, folder / "source", ignore=left_out)
    code = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    _run(sys.executable, "-c", code, cwd=folder / "source")
    (made,) = folder.glob("*.tar.gz")
    return made


@pytest.fixture(scope="module", params=[True, False], ids=["compiler", "no compiler"])
def installed(request, sdist, tmp_path_factory):
    """A folder with the wheel in it, and whether the wheel was built with a compiler."""
    if request.param and not (shutil.which("c++") or shutil.which("cl")):
        pytest.skip("no C++ compiler here")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, sdist]
    _run(*build, cwd=folder, **({} if request.param else NO_COMPILER))
    (wheel,) = folder.glob("*.whl")
    _run(*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel, cwd=folder)
    return folder / "site", request.param


def _run(*command, cwd, code=0, **environment) -> subprocess.CompletedProcess:
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_it_works_outside_the_checkout(installed, tmp_path):
    site, compiled = installed
    environment = {"PYTHONPATH": str(site), "PATH": f"{site / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def pcclora(*words, code=0):
        return _run("pcclora", *words, cwd=tmp_path, code=code, **environment)

    assert "train-cls" in pcclora("--help").stdout
    found = labels_of(pcclora("doctor").stdout)
    assert found["pcclora"].endswith(str(site / "pcclora")) and str(site / "pcclora" / "configs") in found["configs"]
    assert found["ops on cpu"].startswith("native: C++ kernel" if compiled else "torch: the package was built without")

    pcclora("configs", "--copy", "cls/procedural/point_mae_tiny_clora")
    default, copied = (
        pcclora("train-cls", *more, "--dry-run").stdout for more in ((), ("--config", "point_mae_tiny_clora.yaml"))
    )
    assert copied.replace("# config: point_mae_tiny_clora.yaml\n", "") == default

    said = pcclora("train-cls", *SHORT, "--output", "run").stdout.splitlines()[-1]
    assert said == "next: pcclora predict FILE... --run run"
    np.savetxt(tmp_path / "scan.txt", np.random.default_rng(0).random((300, 3)))
    assert pcclora("predict", "scan.txt", "--run", "run").stdout.startswith("scan.txt ")
    (tmp_path / "DATA").mkdir()
    assert "`pcclora prepare modelnet40 ROOT" in pcclora("prepare", "modelnet40", "DATA", code=2).stderr


@pytest.mark.slow
def test_the_source_distribution_is_whole_and_has_nothing_else(sdist, root):
    with tarfile.open(sdist) as archive:
        names = {Path(*Path(member.name).parts[1:]).as_posix() for member in archive if member.isfile()}
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("no git checkout")
    elsewhere = ("tests/", "docs/", ".")
    ours = {name for name in tracked.stdout.split() if not name.startswith(elsewhere) and (root / name).is_file()}
    assert ours - names <= {"Makefile", "CONTRIBUTING.md", "environment.yml"}
    assert {name for name in names - ours if "egg-info" not in name} <= {"PKG-INFO", "setup.cfg"}


@pytest.mark.slow
def test_the_wheel_has_code_configurations_and_cards_only(installed, root):
    (wheel,) = installed[0].parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if "dist-info/" not in name}
    shipped = [*root.glob("configs/**/*.yaml"), *root.glob("datasets/*/README.md")]
    wanted = {f"pcclora/{file.relative_to(root).as_posix()}" for file in shipped}
    code = {file.relative_to(root).as_posix() for file in root.glob("pcclora/**/*") if file.is_file()}
    code = {name for name in code if "__pycache__" not in name and not name.endswith((".so", ".md"))}
    kernel = {name for name in names if "_geometry." in name}
    assert wanted <= names and bool(kernel) == installed[1]
    assert code - names == set() and names - wanted - code - kernel <= {"pcclora/models/weights/README.md"}
