"""The notebook of the whole walk runs as it stands, and comes out of it with a predictor that knows its scans."""

import os
import sys
from pathlib import Path

import pytest

import pcclora

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("onnxscript")
pytest.importorskip("ipykernel")


@pytest.mark.slow
def test_the_walk_runs(root, tmp_path, monkeypatch):
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    book = nbformat.read(root / "docs" / "walk.ipynb", as_version=4)
    nbformat.validate(book)
    assert not any(cell.get("outputs") for cell in book.cells), "it is kept without outputs"
    nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(out.get("text", "") for cell in book.cells for out in cell.get("outputs", []))
    assert "error:" not in printed and "20 scans tested" in printed and "the same answer: True" in printed
    labels = [line.split()[1] for line in printed.splitlines() if line.startswith("scans/mug/")]
    assert labels.count("mug") >= 2 and (tmp_path / "scans.pcclora").is_file()
    one = pcclora.load_run(tmp_path / "run").predict(tmp_path / "scans" / "chair" / "00.xyz", up="z")
    shares = [float(line.split()[0]) for line in printed.splitlines() if line.endswith(f"  {one.label}")]
    assert shares == [pytest.approx(one.confidence, abs=1e-3)], "the exported model answers as the run"
