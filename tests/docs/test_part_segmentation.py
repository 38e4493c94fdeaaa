"""The tutorial from beginning to end, on its own example: each command, in order, with what the one before it left."""

import re
import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

import pcclora.data
from pcclora.data import ProceduralConfig
from pcclora.tools import visualize

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "part_segmentation.md").read_text()
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)
SMALL = ["train.epochs=1", "points=256"]


@pytest.mark.slow
def test_the_tutorial_works_from_beginning_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = partial(ProceduralConfig, train=160, test=64, points=512)
    monkeypatch.setattr(pcclora.data, "ProceduralConfig", few)
    windows = []
    monkeypatch.setattr(visualize, "show", lambda clouds, **_: windows.append(clouds))
    for language, block in BLOCK.findall(PAGE):
        if language == "python":
            exec(compile(block, "part_segmentation.md", "exec"), {})  # noqa: S102
            (tmp_path / "scan.ply").write_bytes((tmp_path / "MY_SCANS/test/chair/4.ply").read_bytes())
            continue
        for line in block.splitlines():
            _run(line.split("  #")[0].split(), monkeypatch)
    assert len(windows) == 1 and len(windows[0]) == 3
    for name in ("labels.html", "worst.html", "shapes.png", "chair.ply", "scan.html", "labelled.ply"):
        assert (tmp_path / name).stat().st_size > 10_000, name
    for name in ("gallery.png", "ious.png", "curves.png", "summary.json", "predictions.csv", "adapter"):
        assert (tmp_path / "runs/partseg/my_scans" / name).exists(), name


def _run(words: list[str], monkeypatch) -> None:
    """Carry a command out on small settings; what wants data from elsewhere is resolved by test_documentation.py."""
    python, tool, *rest = words
    assert python == "python"
    if "data.root=DATA" not in rest:
        monkeypatch.setattr(sys, "argv", [tool, *rest, *(SMALL if "train_partseg" in tool else [])])
        runpy.run_path(str(ROOT / tool), run_name="__main__")
