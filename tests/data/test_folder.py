import numpy as np
import pytest
import trimesh

from pcclora.data import FolderConfig
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS


def fill(folder, count, *, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        np.save(folder / f"{index}.npy", rng.normal(size=(20, 3)) + 100)


def open_split(root, split, **settings):
    return DATASETS.build(FolderConfig(root=str(root), **settings), split=split)


def test_a_folder_a_class_is_split_by_class_and_seed(tmp_path):
    fill(tmp_path / "mug", 10)
    fill(tmp_path / "cup", 5)
    train, test = open_split(tmp_path, "train"), open_split(tmp_path, "test")
    assert train.class_names == test.class_names == ("cup", "mug")
    assert np.bincount(train.labels).tolist() == [4, 8] and np.bincount(test.labels).tolist() == [1, 2]
    assert not {str(f) for f in train.files} & {str(f) for f in test.files}
    assert open_split(tmp_path, "test").files == test.files
    assert any(open_split(tmp_path, "test", split_seed=s).files != test.files for s in range(1, 5))
    for index, sample in enumerate(train):
        assert sample.path == str(train.files[index]) and train.class_names[sample.label] in sample.path
        np.testing.assert_allclose(np.linalg.norm(sample.points, axis=1).max(), 1, rtol=1e-5)


@pytest.mark.parametrize("nested", [False, True])
def test_own_train_and_test_folders_are_kept(tmp_path, nested):
    for name in ("cup", "mug"):
        for split, count in (("train", 3), ("test", 2)):
            fill(tmp_path / name / split if nested else tmp_path / split / name, count)
    assert np.bincount(open_split(tmp_path, "train").labels).tolist() == [3, 3]
    assert np.bincount(open_split(tmp_path, "test").labels).tolist() == [2, 2]


def test_formats_mix_and_large_clouds_are_thinned_the_same_way_each_time(tmp_path):
    fill(tmp_path / "a", 2)
    trimesh.creation.box().export(tmp_path / "a" / "box.stl")
    np.savetxt(tmp_path / "a" / "big.txt", np.random.default_rng(0).normal(size=(500, 3)))
    dataset = open_split(tmp_path, "train", points=64, cache=False, test_fraction=0.01)
    sizes = {dataset.files[i].suffix: len(dataset[i].points) for i in range(len(dataset))}
    assert all(size == {".npy": 20}.get(suffix, 64) for suffix, size in sizes.items())
    for index in range(len(dataset)):
        np.testing.assert_array_equal(dataset[index].points, dataset[index].points)


def test_bad_trees_are_refused(tmp_path):
    with pytest.raises(PccloraError, match="no root is given"):
        DATASETS.build(FolderConfig(), split="train")
    with pytest.raises(PccloraError, match="does not exist"):
        open_split(tmp_path / "nowhere", "train")
    with pytest.raises(PccloraError, match="no class folders"):
        open_split(tmp_path, "train")
    fill(tmp_path / "full", 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PccloraError, match="empty"):
        open_split(tmp_path, "train")
    (tmp_path / "empty").rmdir()
    with pytest.raises(PccloraError, match="no split 'val'"):
        open_split(tmp_path, "val")


def test_a_class_that_only_one_side_has_is_named(tmp_path):
    fill(tmp_path / "train" / "cup", 1)
    fill(tmp_path / "train" / "mug", 1)
    fill(tmp_path / "test" / "cup", 1)
    with pytest.raises(PccloraError, match="mug is absent"):
        open_split(tmp_path, "test")


@pytest.mark.parametrize("settings", [{"test_fraction": 0.0}, {"test_fraction": 1.0}, {"points": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(PccloraError):
        FolderConfig(root=".", **settings)
