"""Files and folders appear whole or not at all."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pcclora.atomic import creating_folder, load_json, read_json, refuse_existing, replacing, write_json, write_text
from pcclora.errors import PccloraError


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError
    assert target.read_text() == "old"
    write_text(target, "new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("target", "words"), [("absent/file.txt", "make its folder first"), (".", "is a folder")])
def test_a_file_that_cannot_be_there_is_refused(tmp_path, target, words):
    with pytest.raises(PccloraError, match=words):
        write_text(tmp_path / target, "text")
    assert not any(tmp_path.iterdir())


def test_a_replaced_file_has_ordinary_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    write_text(tmp_path / "text", "")
    assert (tmp_path / "text").stat().st_mode == plain.stat().st_mode


CAUSES = [
    (errno.ENOSPC, "No space left on device; make room there"),
    (errno.EDQUOT, "make room there"),
    (errno.EFBIG, "File too large; raise the limit of file sizes"),
    (errno.EACCES, "Permission denied; choose a folder that you may write to"),
    (errno.EROFS, "Read-only file system; choose a folder that you may write to"),
    (errno.EIO, "is there room, and may you write there?"),
]


@pytest.mark.parametrize(("number", "words"), CAUSES)
@pytest.mark.parametrize("failing", ["open", "fsync", "replace", "mkdir", "rmdir"])
def test_what_the_system_refuses_is_one_message_and_the_old_file_stays(tmp_path, monkeypatch, number, words, failing):
    target = tmp_path / "file.txt"
    write_text(target, "old")

    def refuse(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    def write():
        if failing in ("mkdir", "rmdir"):
            with creating_folder(tmp_path / "run") as folder:
                write_text(folder / "file.txt", "new")
                if failing == "rmdir":
                    refuse()
        else:
            write_text(target, "new")

    for module, name in ((Path, "open"), (os, "fsync"), (os, "replace"), (os, "mkdir")):
        if name == failing:
            monkeypatch.setattr(module, name, refuse)
    with pytest.raises(PccloraError, match=rf"(file\.txt|run): cannot be written: .*{re.escape(words)}"):
        write()
    monkeypatch.undo()
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_a_file_that_does_not_fit_into_a_new_folder_is_named_by_its_place(tmp_path):
    with (
        pytest.raises(PccloraError, match=rf"^{tmp_path}/run/a/b\.txt: make its folder first"),
        creating_folder(tmp_path / "run") as temporary,
    ):
        write_text(temporary / "a" / "b.txt", "")


def test_a_limit_of_the_file_size_is_one_message(tmp_path):
    script = """
import resource, torch
from pathlib import Path
from pcclora.errors import PccloraError
from pcclora.tensor_file import write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_tensors(Path("tensors"), {"a": torch.zeros(10_000)})
except PccloraError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout == "tensors: cannot be written: File too large; " + (
        "raise the limit of file sizes (ulimit -f), or choose another disk\n"
    )
    assert not any(tmp_path.iterdir())


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    with pytest.raises(PccloraError, match=r"a\.yaml: cannot be written: '\\udcff' in a name is no character"):
        write_text(tmp_path / "a.yaml", "root: \udcff")
    assert not any(tmp_path.iterdir())


def test_a_name_may_be_as_long_as_a_name_can_be(tmp_path):
    write_text(tmp_path / ("ä" * 127), "text")
    with pytest.raises(PccloraError, match="File name too long; choose a shorter name"):
        write_text(tmp_path / ("a" * 256), "text")


def killed_while_writing(target, folder):
    """Leave what a process leaves that was killed in the middle of a write."""
    script = f"""
import os, signal
from pathlib import Path
from pcclora.atomic import creating_folder, replacing
with {"creating_folder" if folder else "replacing"}(Path({str(target)!r})) as temporary:
    ((temporary / "a") if {folder} else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("folder", [False, True])
def test_the_next_write_removes_what_a_killed_one_left_and_nothing_else(tmp_path, folder):
    target, make = tmp_path / "it", creating_folder if folder else replacing
    kept = {tmp_path / name for name in (".other.partial-0", ".it.partially", "it.partial-0")}
    for path in kept:
        path.touch()
    killed_while_writing(target, folder)
    (left,) = set(tmp_path.iterdir()) - kept
    with make(target) as first:
        assert not left.exists()
        with make(target) as second:  # of another writer: that of a living one stays
            assert first.exists() and first != second
            if folder:
                (second / "a").write_text("second")
            else:
                second.write_text("second")
        if folder:
            (first / "a").write_text("first")
            shutil.rmtree(target)
        else:
            first.write_text("first")
    assert (target / "a" if folder else target).read_text() == "first"
    assert set(tmp_path.iterdir()) == {*kept, target}


def test_an_interrupted_folder_is_not_there(tmp_path):
    with pytest.raises(RuntimeError), creating_folder(tmp_path / "run") as temporary:
        write_text(temporary / "a", "1")
        raise RuntimeError
    assert not any(tmp_path.iterdir())


def test_a_folder_with_content_is_never_touched(tmp_path):
    with creating_folder(tmp_path / "run") as temporary:
        write_text(temporary / "config.yaml", "seed: 0")
    with pytest.raises(PccloraError, match=r"never overwritten; go on with it by --resume .*run, or choose another"):
        creating_folder(tmp_path / "run").__enter__()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "config.yaml").read_text() == "seed: 0"


def test_a_folder_filled_meanwhile_is_never_touched(tmp_path):
    with pytest.raises(PccloraError, match="never overwritten"), creating_folder(tmp_path / "run") as temporary:
        write_text(temporary / "config.yaml", "mine")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.yaml").write_text("theirs")
    assert (tmp_path / "run" / "config.yaml").read_text() == "theirs"


def test_an_empty_folder_may_be_given(tmp_path):
    refuse_existing(tmp_path)
    with creating_folder(tmp_path) as temporary:
        write_text(temporary / "a", "1")
    assert (tmp_path / "a").read_text() == "1"


def test_a_file_in_the_way_is_never_touched(tmp_path):
    (tmp_path / "run").write_text("precious")
    with pytest.raises(PccloraError, match="never overwritten; choose another"):
        refuse_existing(tmp_path / "run")


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, None]}


@pytest.mark.parametrize("text", ["{", "[1]", "\xff", None])
def test_damaged_json_is_named(tmp_path, text):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(PccloraError, match=r"a\.json"):
        read_json(path)


@pytest.mark.parametrize("depth", [1, 99, 101, 500, *range(900, 1000, 5), 10**5])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_may_be_nested_a_hundred_times(tmp_path, depth, opening, closing):
    (tmp_path / "a.json").write_text(opening * depth + "1" + closing * depth)
    if depth < 100:
        load_json(tmp_path / "a.json")
    else:
        with pytest.raises(PccloraError, match=r"a\.json: cannot be read: nested too deeply to be data"):
            load_json(tmp_path / "a.json")


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.dumps is not None and not (tmp_path / "a.json").exists()
