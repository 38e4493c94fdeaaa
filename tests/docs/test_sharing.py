"""The page on sharing, as it stands: its commands on a finished run and a hub of this machine, then its Python."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np

from pcclora.config import load_config
from pcclora.runs.adapt import train
from pcclora.tasks.settings import ClassificationRun
from pcclora.tools.command import run

BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)


def test_every_example_runs(root: Path, tmp_path: Path, monkeypatch, capsys, hub) -> None:
    monkeypatch.chdir(tmp_path)
    np.savetxt(tmp_path / "scan.txt", np.random.default_rng(0).random((64, 3)))
    _finished_run(tmp_path)
    names: dict = {}
    page = (root / "docs" / "sharing.md").read_text().replace("scan.ply", "scan.txt")
    for language, block in BLOCK.findall(page):
        if language == "python":
            exec(compile(block, "docs/sharing.md", "exec"), names)  # noqa: S102
        for line in block.splitlines() if language == "bash" else ():
            program, *words = shlex.split(line, comments=True)
            if program == "pcclora":
                name, *rest = words
                monkeypatch.setattr(sys, "argv", [f"pcclora {name}", *rest])
                run(name)
    shown = capsys.readouterr().out
    assert "dry run" in shown and "pushed: " in shown and "scan.txt  " in shown and "folder: name" in shown
    assert (tmp_path / "name" / "summary.json").is_file() and hub.private == {"owner/name"}
    assert (tmp_path / "mixed" / "adapter_model.safetensors").is_file()


def _finished_run(folder: Path) -> None:
    for name in ("cup", "mug"):
        (folder / "scans" / name).mkdir(parents=True)
        for number in range(6):
            cloud = np.random.default_rng([number, *name.encode()]).normal(size=(64, 3))
            np.save(folder / "scans" / name / f"{number}.npy", cloud)
    words = ["data=folder", f"data.root={folder / 'scans'}", "data.up=y", "train.epochs=1", "train.batch_size=4"]
    train(load_config(ClassificationRun, overrides=[*words, "points=32"]), folder / "runs" / "cls" / "RUN")
