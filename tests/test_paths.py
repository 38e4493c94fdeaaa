import os
import sys

import pytest

from pcclora.errors import PccloraError
from pcclora.paths import exists, is_dir, is_file


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
