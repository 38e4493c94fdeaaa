"""Files and folders appear whole or not at all."""

import json

import pytest

from pcclora.atomic import creating_folder, read_json, refuse_existing, replacing, write_json, write_text
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
    from safetensors.torch import save_file

    plain = tmp_path / "plain"
    plain.touch()
    with replacing(tmp_path / "tensors") as temporary:
        save_file({}, temporary)
    assert (tmp_path / "tensors").stat().st_mode == plain.stat().st_mode


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


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.dumps is not None and not (tmp_path / "a.json").exists()
