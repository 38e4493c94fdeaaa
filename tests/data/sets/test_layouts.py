"""The user's own folders, of clouds and of images: what counts, what is left out and said, which side is which."""

import os
import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image

from pcclora.data import FolderConfig, ImageFolderConfig, PartFolderConfig
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

KINDS = {"clouds": (FolderConfig, ".npy"), "images": (ImageFolderConfig, ".png")}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, str(path.name))))
    if path.suffix == ".npy":
        np.save(path, rng.normal(size=(20, 3)))
    else:
        Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(path)


def fill(folder, kind, count=4):
    for number in range(count):
        write(folder / f"{number}{KINDS[kind][1]}")


def open_split(root, kind, split="train", **settings):
    return DATASETS.build(KINDS[kind][0](root=str(root), **settings), split=split)


def names(root, kind):
    sides = [open_split(root, kind, split) for split in ("train", "test")]
    return sorted(side.name_of(row) for side in sides for row in range(len(side)))


def quiet(*arguments, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return open_split(*arguments, **settings)


def test_sub_folders_count_as_in_torchvision(tmp_path, kind):
    datasets = pytest.importorskip("torchvision.datasets")
    for name in ("cup", "mug"):
        fill(tmp_path / name, kind)
        fill(tmp_path / name / "batch 2" / "more", kind)
    theirs = datasets.DatasetFolder(str(tmp_path), loader=str, extensions=(KINDS[kind][1],))
    assert names(tmp_path, kind) == sorted(os.path.relpath(path, tmp_path) for path, _ in theirs.samples)
    assert len(names(tmp_path, kind)) == 16
    quiet(tmp_path, kind)


def test_what_is_left_out_is_counted_once_by_kind(tmp_path, kind):
    suffix = KINDS[kind][1]
    for name in ("cup", "mug"):
        fill(tmp_path / name, kind)
        for number in range(30):
            (tmp_path / name / f"l{number}{suffix}").symlink_to(tmp_path / "annex" / str(number))
        (tmp_path / name / "notes.md").touch()
        (tmp_path / name / ".DS_Store").touch()
    os.mkfifo(tmp_path / "cup" / f"pipe{suffix}")
    fill(tmp_path / "__MACOSX" / "cup", kind)
    with pytest.warns(UserWarning) as caught:
        assert len(names(tmp_path, kind)) == 8
    text = str(caught[0].message)
    for words in ("60 links that lead nowhere", "2 files of other formats", "2 hidden", "1 pipes", "notes.md"):
        assert words in text


def test_a_link_to_a_folder_above_is_entered_once(tmp_path, kind):
    fill(tmp_path / "cup", kind)
    fill(tmp_path / "elsewhere" / "deep", kind, 2)
    (tmp_path / "cup" / "loop").symlink_to(tmp_path / "cup")
    (tmp_path / "root" / "x").mkdir(parents=True)
    (tmp_path / "root" / "cup").symlink_to(tmp_path / "cup")
    (tmp_path / "cup" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "x").rmdir()
    assert len(names(tmp_path / "root", kind)) == 6


@pytest.mark.parametrize(
    "sides", [("train", "val"), ("Train", "Test"), ("TRAIN", "valid"), ("train", "dev"), ("Training", "Testing")]
)
@pytest.mark.parametrize("nested", [False, True])
def test_the_other_side_goes_by_several_names(tmp_path, kind, sides, nested):
    for side, count in zip(sides, (3, 2), strict=True):
        for name in ("cup", "mug"):
            fill(tmp_path / name / side if nested else tmp_path / side / name, kind, count)
    assert np.bincount(quiet(tmp_path, kind).labels).tolist() == [3, 3]
    assert np.bincount(quiet(tmp_path, kind, "test").labels).tolist() == [2, 2]


def test_a_validation_side_beside_a_test_side_is_said(tmp_path, kind):
    for side in ("train", "val", "test"):
        fill(tmp_path / side / "cup", kind)
    with pytest.warns(UserWarning, match=r"val is left out, .*test is tested on"):
        assert "test/cup/0" in open_split(tmp_path, kind, "test").name_of(0)


def test_a_training_side_alone_is_no_class(tmp_path, kind):
    fill(tmp_path / "train" / "cup", kind)
    with pytest.raises(PccloraError, match="has train/ and no other side; name the folder .* test, testing, val"):
        open_split(tmp_path, kind)


def test_folders_that_look_like_sides_and_are_taken_for_classes_are_said(tmp_path, kind):
    for number, sides in enumerate((("fold1", "fold2"), ("train", "more"), ("everything",))):
        for side in sides:
            for name in ("cup", "mug"):
                fill(tmp_path / str(number) / side / name, kind)
        with pytest.warns(
            UserWarning, match=rf"{sides[0]}.* taken for .* is folders \(cup, mug\): where these are the"
        ):
            open_split(tmp_path / str(number), kind)
    for side in ("train", "test"):
        for name in ("cup", "mug"):
            fill(tmp_path / "3" / "everything" / side / name, kind)
    with pytest.warns(UserWarning, match=r"everything in .* taken for a class, .*\(cup, mug\)"):
        open_split(tmp_path / "3", kind)
    for name in ("cup", "mug"):
        fill(tmp_path / "dated" / name / f"of {name}", kind)
    assert quiet(tmp_path / "dated", kind).class_names == ("cup", "mug")


def test_sides_in_some_classes_alone_are_refused(tmp_path, kind):
    for side in ("train", "test"):
        fill(tmp_path / "cup" / side, kind)
    fill(tmp_path / "mug", kind)
    with pytest.raises(PccloraError, match="cup has a side to train and one to test on, .*mug has not"):
        open_split(tmp_path, kind)


def test_a_side_that_is_there_in_two_cases_is_refused(tmp_path, kind):
    for side in ("train", "Train", "test"):
        fill(tmp_path / side / "cup", kind)
    if len(list(tmp_path.iterdir())) == 3:  # not where the file system itself makes them one
        with pytest.raises(PccloraError, match="are the same side in another case"):
            open_split(tmp_path, kind)


@pytest.mark.parametrize("layout", ["cup/{}", "train/cup/{} test/cup/{}", "cup/train/{} cup/test/{}"])
def test_files_in_no_class_folder_are_counted(layout, tmp_path, kind):
    suffix = KINDS[kind][1]
    for path in layout.split():
        fill((tmp_path / path.format("x")).parent, kind)
    quiet(tmp_path, kind)
    holder = (tmp_path / layout.split()[0].format("x")).parent.parent
    for path in (tmp_path / f"root{suffix}", holder / f"loose{suffix}"):
        write(path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.warns(UserWarning) as said:
        open_split(tmp_path, kind)
    (line,) = [str(own.message) for own in said]
    assert "2 files in no class folder" in line and "1 links that lead nowhere" in line


def test_a_class_may_be_called_train(tmp_path, kind):
    for name in ("plane", "train"):
        fill(tmp_path / name, kind)
    assert quiet(tmp_path, kind).class_names == ("plane", "train")


def test_names_are_compared_in_one_unicode_form(tmp_path, kind):
    for side, form in (("train", "NFC"), ("test", "NFD")):
        for name in ("tea", unicodedata.normalize(form, "caf\u00e9")):
            fill(tmp_path / side / name, kind)
    for split in ("train", "test"):
        assert quiet(tmp_path, kind, split).class_names == ("caf\u00e9", "tea")
        assert len(quiet(tmp_path, kind, split)) == 8
    fill(tmp_path / "train" / "cafe\u0301", kind)
    if len(list((tmp_path / "train").iterdir())) == 3:  # not where the file system itself makes them one
        with pytest.raises(PccloraError, match="one name in two Unicode forms"):
            open_split(tmp_path, kind)


def test_part_names_are_compared_in_one_unicode_form(tmp_path):
    (tmp_path / "parts.yaml").write_text("cafe\u0301: [a, b]\n", encoding="utf-8")
    folder = tmp_path / "caf\u00e9"
    folder.mkdir()
    for number in range(4):
        np.savetxt(folder / f"{number}.txt", np.c_[np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2])
    assert len(DATASETS.build(PartFolderConfig(root=str(tmp_path)), split="train")) == 3


def test_a_class_of_another_case_is_named(tmp_path, kind):
    fill(tmp_path / "train" / "cup", kind)
    fill(tmp_path / "test" / "Cup", kind)
    with pytest.raises(PccloraError, match="'Cup' differs from it in case|'cup' differs from it in case"):
        open_split(tmp_path, kind)


def test_two_classes_that_differ_in_case_alone_are_said(tmp_path, kind):
    for name in ("Cup", "cup"):
        fill(tmp_path / name, kind)
    if len(list(tmp_path.iterdir())) == 2:
        with pytest.warns(UserWarning, match="Cup and cup in .* are two classes"):
            open_split(tmp_path, kind)


def test_a_linked_sub_folder_that_is_not_there_is_counted(tmp_path, kind):
    for name in ("cup", "mug"):
        fill(tmp_path / name, kind)
    (tmp_path / "cup" / "more").symlink_to(tmp_path / "unmounted")
    with pytest.warns(UserWarning, match="1 links that lead nowhere .*more"):
        open_split(tmp_path, kind)


def test_an_empty_class_says_what_is_in_it(tmp_path, kind):
    fill(tmp_path / "full", kind)
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / f"a{KINDS[kind][1]}").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PccloraError, match=r"dead has none \(1 links that lead nowhere\); add"):
        open_split(tmp_path, kind)
