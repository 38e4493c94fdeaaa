import numpy as np
import pytest

from pcclora.data import ModelNetConfig, PartSegH5Config, normalize_unit_sphere
from pcclora.data.readers.hdf5 import read_h5
from pcclora.data.sets.modelnet import MODELNET10, MODELNET40
from pcclora.registry import DATASETS


def open_split(root, split, **settings):
    return DATASETS.build(ModelNetConfig(root=str(root), **settings), split=split)


@pytest.mark.parametrize(("form", "tree"), [("text", "text_tree"), ("dat", "dat_tree"), ("h5", "h5_tree")])
def test_every_form_gives_the_same_clouds(form, tree, clouds, request):
    root = request.getfixturevalue(tree)
    for split, rows in (("train", range(4)), ("test", range(4, 6))):
        dataset = open_split(root, split)
        assert (dataset.form, dataset.split, dataset.class_names) == (form, split, ("chair", "night_stand"))
        assert dataset.labels.tolist() == [row % 2 for row in rows] and dataset.labels.dtype == np.int64
        assert dataset.fps_ordered is (form == "dat")
        for index, row in enumerate(rows):
            sample = dataset[index]
            assert sample.points.dtype == np.float32 and sample.label == row % 2 and str(root) in sample.path
            np.testing.assert_allclose(sample.points, normalize_unit_sphere(clouds[row])[:, :3], atol=1e-5)


def test_clouds_are_left_alone_when_asked(h5_tree, clouds):
    np.testing.assert_array_equal(open_split(h5_tree, "test", normalize=False)[0].points, clouds[4, :, :3])


def test_a_named_form_wins_over_a_faster_one(dat_tree):
    assert open_split(dat_tree, "train").form == "dat"
    assert open_split(dat_tree, "train", form="text").form == "text"


def test_modelnet10_has_its_own_lists(text_tree):
    for name in ("shape_names", "train", "test"):
        (text_tree / f"modelnet40_{name}.txt").rename(text_tree / f"modelnet10_{name}.txt")
    assert len(open_split(text_tree, "train", classes=10)) == 4


def test_an_h5_folder_without_lists_is_read_by_its_file_names(h5_tree):
    for name in ("train_files.txt", "test_files.txt", "shape_names.txt"):
        (h5_tree / name).unlink()
    dataset = open_split(h5_tree, "train")
    assert len(dataset) == 4 and dataset.class_names == MODELNET40
    assert open_split(h5_tree, "test", classes=10).class_names == MODELNET10


def test_built_in_names_are_the_official_ones(real):
    lists = real("modelnet40_official_lists")
    for names in (MODELNET10, MODELNET40):
        with open(f"{lists}/modelnet{len(names)}_shape_names.txt") as file:
            assert file.read().split() == list(names)


def test_real_modelnet10(real):
    root = real("modelnet10_ply_hdf5_1024")
    train, test = open_split(root, "train", classes=10), open_split(root, "test", classes=10)
    assert (len(train), len(test), train.class_names) == (3991, 908, MODELNET10)
    assert np.bincount(test.labels).tolist() == [50, 100, 100, 86, 86, 100, 86, 100, 100, 100]
    assert train[0].points.shape == (1024, 3)


def test_real_text_and_pickle_forms_agree(real):
    root = real("modelnet40_normal_resampled")
    for split, count in (("train", 235), ("test", 88)):
        text, dat = open_split(root, split, form="text"), open_split(root, split, form="dat")
        assert len(text) == len(dat) == count
        assert np.bincount(text.labels).tolist() == np.bincount(dat.labels).tolist()
        assert text[0].points.shape == (2048, 3)


def test_real_8192_point_clouds(real):
    dataset = open_split(real("modelnet40_8192_two_per_class"), "test")
    assert len(dataset) == 78 and dataset[0].points.shape == (8192, 3) and dataset.class_names == MODELNET40


def test_real_relics_carry_part_labels(real):
    root = real("relics_partseg_hdf5")
    sizes = {}
    for split in ("train", "val", "test"):
        dataset = DATASETS.build(PartSegH5Config(root=root), split=split)
        sizes[split] = len(dataset)
        assert len(dataset.class_names) == 23 and dataset.class_names[0] == "beizi"
        sample = dataset[0]
        assert sample.points.shape == (2048, 3) and sample.part_labels.shape == (2048,)
    assert sizes == {"train": 800, "val": 263, "test": 259}
    both = DATASETS.build(PartSegH5Config(root=root, train_with_val=True), split="train")
    assert len(both) == 1063


def test_arrays_are_read_as_stored(h5_tree, clouds):
    arrays = read_h5(h5_tree / "ply_data_test0.h5", {"data": "f", "label": "iu"})
    np.testing.assert_array_equal(arrays["data"], clouds[4:, :, :3])
