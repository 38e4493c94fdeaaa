"""The page on adapters: its examples run as they stand, one after the other."""

import re

import pytest


def test_every_example_runs(root, tmp_path, monkeypatch):
    pytest.importorskip("peft", reason="peft is not installed (pip install pcclora[peft])")
    text = (root / "docs" / "adapters.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) >= 8 and text.count("```") == 2 * len(blocks)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "docs/adapters.md", "exec"), names)  # noqa: S102
    assert (tmp_path / "my_adapter" / "adapter_model.safetensors").is_file()
