"""The installed command: it finds every tool, as the files of a checkout do; texts name it as it was called."""

import ast
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from pcclora.commands import COMMANDS, spelled
from pcclora.tools import command
from pcclora.tools.prepare import NAMES

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("tools/*.py"), *ROOT.glob("datasets/*/prepare.py")])
LIGHT = """
import sys
from pcclora.tools.command import main
sys.argv = ["pcclora", *sys.argv[1:]]
try:
    main()
finally:
    loaded = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
    print("loaded:", *sorted(loaded), file=sys.stderr)
"""


def pcclora(*words):
    """Call the installed command in this process; returns its exit code."""
    before, sys.argv = sys.argv, ["/usr/bin/pcclora", *map(str, words)]
    try:
        command.main()
    except SystemExit as stopped:
        return stopped.code
    finally:
        sys.argv = before
    return 0


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"], ["train-clss"], ["prepare", "--help"], ["configs"]])
def test_what_needs_no_tensor_loads_nothing_heavy(words):
    done = subprocess.run([sys.executable, "-c", LIGHT, *words], capture_output=True, text=True)
    *_, loaded = done.stderr.splitlines()
    assert set(loaded.split()[1:]) <= {"__main__", "pcclora", "sitecustomize"} | _of_site(), loaded


def _of_site():
    """What Python itself loads here before anything is asked for, as the finders of editable installs."""
    code = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())


def test_help_names_every_command(capsys):
    assert pcclora("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS) and max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_how_it_is_called(name, capsys):
    assert pcclora(name, "--help") == 0
    shown = capsys.readouterr().out
    assert f"pcclora {name}" in shown and ".py " not in shown


@pytest.mark.parametrize("word", ["train-clss", "Predict", "--hlep", "\x1b[2J"])
def test_no_command_is_one_sentence(word, capsys):
    assert pcclora(word) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: pcclora ") and "no such command" in err and len(err.splitlines()) == 1
    assert "\x1b" not in err


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_of_the_checkout_is_a_command(file, monkeypatch, capsys):
    called = [node.value for node in ast.parse(file.read_text()).body[-1].body if isinstance(node, ast.Expr)]
    words = [word.value for word in called[0].args]
    monkeypatch.setattr(sys, "argv", [str(file), "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(file), run_name="__main__")
    by_file = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"python {file.relative_to(ROOT)}" in by_file and f"pcclora {words[0]}" not in by_file
    assert pcclora(*words, "--help") == 0
    assert by_file.split("\n\n")[-1] == capsys.readouterr().out.split("\n\n")[-1]


def test_every_command_has_a_file_and_every_data_set_that_is_prepared():
    assert len(FILES) == len(COMMANDS) - 1 + len(NAMES)  # prepare has one beside each card
    for name in NAMES:
        assert import_module(f"pcclora.tools.prepare.{name}").main


@pytest.mark.parametrize(
    ("text", "as_file"),
    [
        ("next: pcclora predict FILE --run a", "next: python tools/predict.py FILE --run a"),
        ("pcclora episodes, then pcclora fewshot", "python tools/write_episodes.py, then python tools/fewshot.py"),
        ("`pcclora prepare fgvc ROOT`", "`python datasets/fgvc/prepare.py ROOT`"),
        ('accelerate launch "$(command -v pcclora)" train-cls -', "accelerate launch tools/train_cls.py -"),
        ("pcclora and import pcclora train", "pcclora and import pcclora train"),
        ("pcclora train-cls-x", "pcclora train-cls-x"),
    ],
)
def test_texts_name_a_command_as_it_was_called(text, as_file, monkeypatch, tmp_path):
    for program in ("/usr/bin/pcclora", "pcclora predict", str(tmp_path / "tools" / "predict.py"), "", "-c"):
        monkeypatch.setattr(sys, "argv", [program])
        assert spelled(text) == text
    for program in ("tools/predict.py", str(ROOT / "datasets" / "fgvc" / "prepare.py")):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [program])
        assert spelled(text) == as_file


def test_a_data_set_that_needs_no_preparation_is_one_sentence(capsys, tmp_path):
    assert pcclora("prepare", "modelnet10", "ROOT") == 2
    assert "did you mean 'modelnet40'?" in capsys.readouterr().err
    assert pcclora("prepare", "vtab1k", tmp_path, "--tasks", "dtd") == 2
    err = capsys.readouterr().err
    assert "does not exist" in err and "`pcclora prepare vtab1k ROOT`" in err
