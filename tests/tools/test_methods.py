"""The table of methods in the docs is what the command prints; a console shows it in 80 columns."""

import sys
from pathlib import Path

import pytest

from pcclora.tools.methods import main

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["pcclora methods", *words])
    main()
    return capsys.readouterr().out


@pytest.mark.slow
def test_the_page_is_what_the_command_prints(monkeypatch, capsys):
    pytest.importorskip("timm")
    table = printed(monkeypatch, capsys, "--markdown")
    assert table in PAGE.read_text(), "write the table anew: pcclora methods --markdown"


def test_a_console_of_80_columns_shows_it(monkeypatch, capsys):
    shown = printed(monkeypatch, capsys, "--model", "point_mae_tiny")
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "clora  CLoRA (2512.24603)" in shown and "trains 12,288, with the head 132,559" in shown
