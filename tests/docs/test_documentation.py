"""What README and docs say, done: each command works, the Python runs, each link leads somewhere.

A command that uses a finished run is carried out on a small one. The others run with --dry-run: configuration and
arguments are resolved, nothing is trained; tests/tools carries each tool out at a small size.
"""

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import pcclora
from pcclora.config import load_config
from pcclora.data.corruptions.table import CORRUPTIONS, SETS
from pcclora.runs.adapt import train
from pcclora.tasks.settings import ClassificationRun, PartSegmentationRun
from pcclora.tools.command import run

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / page for page in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("datasets/*/*.md")),
]
TINY = ROOT / "tests" / "tiny"
PLY = "ply\nformat ascii 1.0\nelement vertex 64\n" + "".join(f"property float {a}\n" for a in "xyz") + "end_header"
SHELL = re.compile(r"```bash\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def _commands() -> list[str]:
    blocks = "\n".join(block for page in PAGES for block in SHELL.findall(page.read_text()))
    lines = blocks.replace("\\\n", " ").splitlines()
    found = (re.sub(r"^accelerate launch (--\S+ \S+ )*", "python ", line.split("  #")[0].strip()) for line in lines)
    ours = re.compile(r"tools/|^pcclora ")
    # the first goes on with what a command before it began: test_images.py; then tests/tools/test_methods.py; what asks
    # the hub is carried out by test_sharing.py
    elsewhere = re.compile(r"--resume runs/image/|^pcclora methods|^pcclora pull|^pcclora push|--run hub:")
    return sorted({" ".join(line.split()) for line in found if ours.search(line) and not elsewhere.search(line)})


def test_commands_are_found():
    assert len(_commands()) > 10


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A finished run on scans, for the commands that want one; a scan a class came later."""
    folder = tmp_path_factory.mktemp("documentation")
    overrides = ["train.epochs=1", f"data={{name: folder, root: {folder / 'scans'}}}"]
    _scans(folder / "scans", range(8))
    run = train(load_config(ClassificationRun, file=TINY / "cls.yaml", overrides=overrides), folder / "run")
    _scans(folder / "scans", range(8, 9))
    return run.path


def _scans(root, numbers):
    for name in ("cup", "mug"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            np.save(root / name / f"{number}.npy", np.random.default_rng([number, *name.encode()]).normal(size=(64, 3)))


def _priced(command: str):
    """A command; what exports a run takes too long for the quick tests."""
    return pytest.param(command, marks=pytest.mark.slow if command.startswith("pcclora export --run runs/cls") else ())


@pytest.mark.parametrize("command", map(_priced, _commands()))
def test_command_works(command, run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    np.savetxt(tmp_path / "scan.txt", np.random.default_rng(0).random((64, 3)))
    program, tool, *words = shlex.split(command)
    assert program in ("python", "pcclora"), "a command starts with pcclora, python or accelerate launch"
    places = {"runs/cls/RUN": str(run_folder), "scan.ply": str(tmp_path / "scan.txt")}
    places |= {name: str(tmp_path / name) for name in ("run.pcclora",) if "pack" in tool}
    places |= {name: str(tmp_path / name) for name in ("my_model",) if "export" in tool}
    places |= {"SCANS": str(run_folder.parent / "scans")}
    places |= {word: str(tmp_path / word) for word in words if word.endswith((".html", ".png"))}
    # what needs a run on parts too is carried out by test_part_segmentation
    needs_a_run = "runs/cls/RUN" in words and "--then" not in words
    monkeypatch.setattr(
        sys, "argv", [tool, *(places.get(w, w) for w in words), *([] if needs_a_run else ["--dry-run"])]
    )
    if program == "python":
        runpy.run_path(tool, run_name="__main__")
    else:
        run(tool)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.fixture(scope="module")
def parts_folder(tmp_path_factory) -> Path:
    """A finished run on parts."""
    config = load_config(PartSegmentationRun, file=TINY / "partseg.yaml", overrides=["train.epochs=1"])
    return train(config, tmp_path_factory.mktemp("parts") / "run").path


@pytest.mark.parametrize(
    ("page", "leaves"),
    [
        ("README.md", "my_adapter/adapter_model.safetensors"),
        ("docs/python.md", "packed.pcclora"),
        ("docs/deploy.md", "scan.npy"),
        ("docs/debugging.md", "mine.pth"),
    ],
)
def test_the_python_of_a_page_runs(page, leaves, run_folder, parts_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, folder in (("cls", run_folder), ("partseg", parts_folder)):
        shutil.copytree(folder, tmp_path / "runs" / name / "RUN")
    np.savetxt(tmp_path / "scan.ply", np.random.default_rng(0).random((64, 3)), header=PLY, comments="")
    program = "\n".join(PYTHON.findall((ROOT / page).read_text()))
    exec(compile(program, page, "exec"), {})  # noqa: S102
    assert (tmp_path / leaves).is_file()


def test_the_version_is_one():
    assert f"version: {pcclora.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {pcclora.__version__} " in (ROOT / "CHANGELOG.md").read_text()
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_every_corruption_is_on_its_page():
    page = (ROOT / "docs" / "trust.md").read_text()
    lines = {line.split("`")[1]: line.replace("**", "") for line in page.splitlines() if line.startswith("| `")}
    assert lines.keys() == CORRUPTIONS.keys()
    for name, held in CORRUPTIONS.items():
        if name not in ("occlusion", "lidar", "upp"):
            assert f"| {', '.join(f'{level:g}' for level in held.levels)} |" in lines[name]
        if ", not its" not in lines[name]:
            assert ("ModelNet40-C" in lines[name]) == (name in SETS["modelnet40-c"])
