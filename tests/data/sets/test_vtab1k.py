import re

import numpy as np
import pytest
from PIL import Image

from pcclora.data import Vtab1kConfig, make_image_loader, vtab1k
from pcclora.data.sets.vtab1k import TASKS
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from tests.data.image_trees import SIZES, vtab_task


def open_split(root, split="train", *, task="patch_camelyon", **settings):
    return vtab1k(Vtab1kConfig(root=str(root), task=task, **settings), split=split)


def test_the_nineteen_tasks_are_in_their_groups():
    groups = [task.group for task in TASKS.values()]
    assert {group: groups.count(group) for group in groups} == {"Natural": 7, "Specialized": 4, "Structured": 8}
    counts = {name: task.classes for name, task in TASKS.items()}  # against the table in the code of FacT
    assert list(counts.values()) == [100, 102, 47, 102, 37, 10, 397, 2, 10, 45, 5, 8, 6, 6, 4, 16, 16, 18, 9]
    assert (counts["sun397"], counts["dmlab"], counts["smallnorb_azi"], counts["smallnorb_ele"]) == (397, 6, 18, 9)


def test_a_split_is_a_list_and_tuning_takes_the_other_two(tmp_path):
    task = vtab_task(tmp_path, "patch_camelyon")
    for tuning, split, name, count in (
        (False, "train", "train800val200", 12),
        (False, "test", "test", 6),
        (True, "train", "train800", 8),
        (True, "test", "val200", 4),
    ):
        dataset = open_split(tmp_path, split, tuning=tuning)
        assert len(dataset) == count and dataset.class_names == ("0", "1") and dataset.labels.tolist()[:3] == [0, 1, 0]
        with Image.open(task / "images" / name / "000001.jpg") as image:
            np.testing.assert_array_equal(dataset[1].pixels, np.asarray(image))
        assert dataset[1].label == 1 and dataset[1].path.endswith(f"images/{name}/000001.jpg")
    assert SIZES["test"] == 6
    built = DATASETS.build(Vtab1kConfig(root=str(tmp_path), task="patch_camelyon"), split="train")
    assert (built.name, built.split, built.holds) == ("vtab1k", "train", "images")


def test_a_tuning_run_opens_no_test_image(tmp_path):
    task = vtab_task(tmp_path, "own", classes=3)
    for path in (task / "images" / "test").iterdir():
        path.write_bytes(b"")
    for split in ("train", "test"):
        dataset = open_split(tmp_path, split, task="own", tuning=True)
        assert all(dataset[i].pixels.shape == (18, 24, 3) for i in range(len(dataset)))


def test_classes_come_from_the_task_a_file_the_lists_or_the_user(tmp_path):
    task = vtab_task(tmp_path, "own", classes=3)
    assert open_split(tmp_path, task="own").class_names == ("0", "1", "2")
    assert len(open_split(tmp_path, task="own", classes=5).class_names) == 5
    (task / "classes.txt").write_text("cat\ndog\n\nfish\n")
    assert open_split(tmp_path, task="own").class_names == ("cat", "dog", "fish")
    with pytest.raises(PccloraError, match="3 names for 5 classes"):
        open_split(tmp_path, task="own", classes=5)
    vtab_task(tmp_path, "kitti")
    assert len(open_split(tmp_path, task="kitti").class_names) == 4


def test_a_gap_in_the_labels_is_refused_where_nothing_says_how_many_classes_there_are(tmp_path):
    task = vtab_task(tmp_path, "own", classes=3)
    for name in ("train800", "val200", "train800val200", "test"):
        path = task / f"{name}.txt"
        path.write_text(re.sub(" 1$", " 3", path.read_text(), flags=re.MULTILINE))
    with pytest.raises(
        PccloraError, match=re.escape("no image of class 1 in any list, but of 2; labels are 0 to C - 1")
    ):
        open_split(tmp_path, task="own")
    assert open_split(tmp_path, task="own", classes=4).labels.max() == 3


@pytest.mark.parametrize(
    "line, message",
    [
        ("images/test/000000.jpg 2", "line 2: label 2 is not in 0..1"),
        ("images/test/000000.jpg -1", "line 2: 'images/test/000000.jpg -1' is not an image and its class"),
        ("images/test/000000.jpg 1.0", "line 2: .* is not an image and its class"),
        ("images/test/000000.jpg", "line 2: .* is not an image and its class"),
        ("images/test/000000.jpg 99999999999999999999", "line 2: .* is not an image and its class"),
        ("7", "line 2: '7' is not an image and its class"),
        ("images/test/9.jpg 1", "line 2: .*images/test/9.jpg is absent, and so are 0 more of 3 images"),
        ("elsewhere/0.jpg 1", "line 2: .*elsewhere/0.jpg is absent"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    task = vtab_task(tmp_path, "patch_camelyon")
    (task / "test.txt").write_text(f"images/test/000000.jpg 0\n{line}\n\nimages/test/000001.jpg 1\n")
    with pytest.raises(PccloraError, match=f"test.txt, {message}"):
        open_split(tmp_path, "test")


def test_names_may_have_spaces_and_lists_windows_line_ends(tmp_path):
    task = vtab_task(tmp_path, "patch_camelyon")
    (task / "images" / "test" / "000000.jpg").rename(task / "images" / "test" / "a cat.jpg")
    (task / "test.txt").write_bytes(b"images/test/a cat.jpg 1\r\nimages/test/000001.jpg\t0\r\n")
    dataset = open_split(tmp_path, "test")
    assert dataset.labels.tolist() == [1, 0] and dataset[0].pixels.shape == (18, 24, 3)


def test_a_list_that_notepad_saved_is_read(tmp_path):
    task = vtab_task(tmp_path, "patch_camelyon")
    before = open_split(tmp_path, "test")
    for name in ("test.txt", "train800val200.txt"):
        (task / name).write_bytes("\ufeff".encode() + (task / name).read_bytes().replace(b"\n", b"\r\n"))
    after = open_split(tmp_path, "test")
    assert after.files == before.files and after.labels.tolist() == before.labels.tolist()


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "x" * 300 + "/a.jpg", "a\0.jpg", "a\0/a.jpg"])
def test_an_image_of_a_name_that_no_file_can_have_is_absent(tmp_path, name):
    task = vtab_task(tmp_path, "patch_camelyon")
    (task / "test.txt").write_text(f"images/test/000001.jpg 1\n{name} 0\n")
    with pytest.raises(PccloraError, match=r"test.txt, line 2: .* is absent"):
        open_split(tmp_path, "test")


def test_a_class_is_named_once(tmp_path):
    task = vtab_task(tmp_path, "patch_camelyon")
    (task / "classes.txt").write_text("normal\nnormal\n")
    with pytest.raises(PccloraError, match=r"classes\.txt: class 'normal' is named twice, as number 1 and 2"):
        open_split(tmp_path)


def test_a_corrupt_image_is_named_with_its_list_and_line(tmp_path):
    task = vtab_task(tmp_path, "patch_camelyon")
    broken = task / "images" / "test" / "000003.jpg"
    broken.write_bytes(broken.read_bytes()[:100])
    dataset = open_split(tmp_path, "test")
    with pytest.raises(PccloraError, match=r"test.txt, line 4: .*000003.jpg: damaged"):
        dataset[3]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"task": ""}, "no task is given; set task to one of cifar, caltech101"),
        ({"task": "cifer"}, "no task 'cifer'; did you mean 'cifar'"),
        ({"task": "my_task"}, "no task 'my_task'; did you mean 'my_tasks'"),
        ({"task": "dtd"}, "the folder of 'dtd', .*dtd, does not exist; see .*datasets/vtab1k/README.md"),
    ],
)
def test_an_unknown_or_absent_task_is_named_with_the_nearest(tmp_path, settings, message):
    vtab_task(tmp_path, "my_tasks")
    with pytest.raises(PccloraError, match=message):
        open_split(tmp_path, **settings)


def test_other_bad_input_is_refused(tmp_path):
    task = vtab_task(tmp_path, "patch_camelyon")
    with pytest.raises(PccloraError, match="no split 'val'"):
        open_split(tmp_path, "val")
    with pytest.raises(PccloraError, match="classes is 1"):
        Vtab1kConfig(classes=1)
    with pytest.raises(PccloraError, match="no root is given"):
        vtab1k(Vtab1kConfig(task="cifar"), split="train")
    (task / "test.txt").write_text("\n")
    with pytest.raises(PccloraError, match="test.txt: damaged .*no images in it"):
        open_split(tmp_path, "test")
    (task / "test.txt").unlink()
    with pytest.raises(PccloraError, match="test.txt: cannot be opened"):
        open_split(tmp_path, "test")


def test_real_images_in_the_form(shared_data):
    sizes = {}
    for tuning in (False, True):
        for split in ("train", "test"):
            dataset = open_split(shared_data, split, task="cifar10_vtab1k", tuning=tuning)
            sizes[tuning, split] = len(dataset)
            assert dataset.class_names[0] == "airplane" and len(dataset.class_names) == 10
    assert sizes == {(False, "train"): 1000, (False, "test"): 2000, (True, "train"): 800, (True, "test"): 200}
    loader = make_image_loader(
        dataset, size=32, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic", crop=0.9, batch_size=50, train=False
    )
    images = [batch["images"] for batch in loader]
    assert len(images) == 4 and images[0].shape == (50, 3, 32, 32) and abs(float(images[0].mean())) < 0.5
