import os
import sys

import pytest

from pcclora.atomic import load_json
from pcclora.data.digests import digest_of_file
from pcclora.data.readers import read_text as read_numbers
from pcclora.data.readers.files import read_lines
from pcclora.data.readers.hdf5 import read_h5
from pcclora.data.readers.pickles import load_pickle
from pcclora.data.sets.image_lists import read_listing
from pcclora.engine.run_folder import read_rows
from pcclora.errors import PccloraError
from pcclora.paths import MOST_TEXT, exists, is_dir, is_file, read_text
from pcclora.tensor_file import read_tensors

READERS = {
    "json": load_json,
    "digest": digest_of_file,
    "lines": read_lines,
    "h5": lambda path: read_h5(path, {"data": "f"}),
    "listing": lambda path: read_listing(path, remedy=""),
    "pickle": load_pickle,
    "numbers": read_numbers,
    "rows": read_rows,
    "tensors": lambda path: read_tensors(path, remedy=""),
}


def test_they_answer_as_pathlib_does(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for path in (file, tmp_path, tmp_path / "absent", file / "below"):
        assert (is_file(path), is_dir(path), exists(path)) == (path.is_file(), path.is_dir(), path.exists())


@pytest.mark.parametrize("question", [is_file, is_dir, exists])
def test_a_name_that_the_system_refuses_is_of_nothing(question, tmp_path):
    assert not question(tmp_path / ("x" * 300))
    assert not question(tmp_path / "a\0b")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may look anywhere")
def test_what_cannot_be_told_is_one_error(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(PccloraError, match=r"closed/a: cannot be looked at \(Permission denied\)"):
        is_file(tmp_path / "closed" / "a")


@pytest.mark.skipif(sys.platform == "win32", reason="has no such things")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_not_waited_for(reader, kind, tmp_path):
    path = tmp_path / "a"
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    with pytest.raises(PccloraError, match=r"a: a folder, a device or a pipe, not a file"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", ["json", "lines", "listing", "rows"])
def test_a_text_without_end_is_refused_before_it_is_read(reader, tmp_path):
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(MOST_TEXT + 1)  # a hole: it takes no room
    with pytest.raises(PccloraError, match=r"a: 268,435,457 bytes"):
        READERS[reader](path)


def test_a_mark_of_the_byte_order_is_left_out(tmp_path):
    (tmp_path / "a").write_text("b", encoding="utf-8-sig")
    assert read_text(tmp_path / "a") == "b"
