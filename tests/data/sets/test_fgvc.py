import json

import pytest

from pcclora.data import FgvcConfig, fgvc
from pcclora.data.sets.fgvc import FOLDERS, TASKS
from pcclora.errors import PccloraError
from tests.data.image_trees import fgvc_set

HOMES = {
    "cub_200_2011": ["001.Black_footed_Albatross/", "002.Laysan_Albatross/", "003.Sooty_Albatross/"],
    "nabirds": ["0295/", "0296/", "0300/"],
    "oxford_flowers": ["jpg/"] * 3,
    "stanford_cars": ["car_ims/"] * 3,
    "stanford_dogs": ["n02085620-Chihuahua/", "n02085782-Japanese_spaniel/", "n02085936-Maltese_dog/"],
}


def open_split(root, split="train", *, task="cub_200_2011", classes=3, **settings):
    return fgvc(FgvcConfig(root=str(root), task=task, classes=classes, **settings), split=split)


@pytest.mark.parametrize("task", TASKS)
def test_the_five_sets_are_read_where_vpt_expects_them(tmp_path, task):
    fgvc_set(tmp_path, *FOLDERS[task], HOMES[task])
    flat = task in ("oxford_flowers", "stanford_cars")
    for tuning, split, found, count in (
        (False, "train", "train", 6),
        (False, "test", "test", 3),
        (True, "train", "train", 6),
        (True, "test", "val", 3),
    ):
        dataset = open_split(tmp_path, split, task=task, tuning=tuning)
        assert (len(dataset), dataset.name, dataset.split) == (count, "fgvc", split)
        assert sorted(set(dataset.labels.tolist())) == [0, 1, 2]
        assert dataset.class_names == (("1", "2", "3") if flat else tuple(home.rstrip("/") for home in HOMES[task]))
        sample = dataset[len(dataset) - 1]
        assert sample.label == 2 and f"{found}_2" in sample.path and sample.pixels.shape == (18, 24, 3)


def test_a_folder_may_have_the_name_of_the_task(tmp_path):
    fgvc_set(tmp_path, "cub_200_2011", "images", HOMES["cub_200_2011"])
    assert len(open_split(tmp_path)) == 6


def test_a_set_of_ones_own_has_the_classes_of_its_training_images(tmp_path):
    fgvc_set(tmp_path, "fish", ".", ["a/", "b/"])
    assert open_split(tmp_path, "test", task="fish", classes=0).class_names == ("a", "b")


def test_the_official_number_of_classes_is_held(tmp_path):
    fgvc_set(tmp_path, *FOLDERS["cub_200_2011"], HOMES["cub_200_2011"])
    with pytest.raises(PccloraError, match="train.json: 3 classes, cub_200_2011 has 200"):
        open_split(tmp_path, classes=0)


def test_classes_are_counted_from_zero_in_their_order_however_they_are_numbered(tmp_path):
    folder = fgvc_set(tmp_path, *FOLDERS["nabirds"], HOMES["nabirds"])
    for split in ("train", "val", "test"):
        content = json.loads((folder / f"{split}.json").read_text())
        numbers = {1: 1010, 2: "7", 3: 295}
        (folder / f"{split}.json").write_text(json.dumps({name: numbers[label] for name, label in content.items()}))
    assert open_split(tmp_path, "test", task="nabirds").labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "content, message",
    [
        ("[]", "expected {.*path/of/image.jpg"),
        ("{", "test.json: damaged"),
        ("", "test.json: the file is empty"),
        ('{"a.jpg": 1, "b.jpg": 1, "a.jpg": 2}', "test.json: damaged .*'a.jpg' is named twice"),
        ("<html>quota</html>", "test.json: this is a web page"),
        ("[" * 100_000, "test.json: damaged .*nested too deeply"),
        ('{"a":' * 100_000, "test.json: damaged .*nested too deeply"),
        ('{"001.Black_footed_Albatross/test_0_0.jpg": [1]}', r"is '\[1\]'; a whole number"),
        ('{"001.Black_footed_Albatross/test_0_0.jpg": %s}' % ("[" * 900 + "]" * 900), "nested too deeply"),
        ('{"%s.jpg": 1}' % ("x" * 300), "xxx.jpg is absent"),
        ('{"%s/a.jpg": 1}' % ("x" * 300), "xxx/a.jpg is absent"),
        ('{"a\\u0000/b.jpg": 1}', "b.jpg is absent"),
        ('{"001.Black_footed_Albatross/test_0_0.jpg": "cat"}', "the class of '001.*' is 'cat'; a whole number"),
        ('{"001.Black_footed_Albatross/test_0_0.jpg": 9}', "test_0_0.jpg': class 9 has no training image"),
        ('{"001.Black_footed_Albatross/gone.jpg": 1}', "test.json, '001.*gone.jpg': .* is absent"),
    ],
)
def test_bad_splits_are_named(tmp_path, content, message):
    folder = fgvc_set(tmp_path, *FOLDERS["cub_200_2011"], HOMES["cub_200_2011"])
    (folder / "test.json").write_text(content)
    with pytest.raises(PccloraError, match=message):
        open_split(tmp_path, "test")
    assert len(open_split(tmp_path, "test", tuning=True)) == 3  # which does not need it


def test_unknown_and_absent_tasks_are_named_with_the_nearest(tmp_path):
    with pytest.raises(PccloraError, match="no task 'nabird'; did you mean 'nabirds'"):
        open_split(tmp_path, task="nabird")
    with pytest.raises(PccloraError, match="CUB_200_2011 or .*cub_200_2011, does not exist"):
        open_split(tmp_path)
    with pytest.raises(PccloraError, match="no task is given"):
        open_split(tmp_path, task="")
    with pytest.raises(PccloraError, match="no split 'val'"):
        open_split(tmp_path, "val")
