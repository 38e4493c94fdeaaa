"""The page for users of peft: its examples run as they stand, one after the other."""

import re
from pathlib import Path

import pytest


def test_every_example_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft", reason="peft is not installed (pip install pcclora[peft])")
    pytest.importorskip("timm", reason="timm is not installed (pip install pcclora[image])")
    text = (root / "docs" / "peft.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 3
    first = [line for line in blocks[0].splitlines() if line]
    assert len(first) == 5  # what it promises
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "docs/peft.md", "exec"), names)  # noqa: S102
    assert (tmp_path / "clora_folder" / "adapter_model.safetensors").is_file()
