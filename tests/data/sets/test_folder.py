import numpy as np
import pytest
import trimesh

from pcclora.config import from_dict
from pcclora.data import AXES, FolderConfig, make_loader, turn_upright
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


STORED = {"x": [1, 0, 2], "y": [0, 1, 2], "z": [0, 2, 1]}
"""Up axis -> which coordinate of an upright cloud stands in each column of its file; signs are below."""
SIGNS = {"x": [1, -1, 1], "y": [1, 1, 1], "z": [1, -1, 1]}


def lay_down(points, up):
    """Write an upright cloud as a program whose vertical axis is ``up`` does."""
    return points[:, STORED[up]] * SIGNS[up]


@pytest.fixture(params=AXES)
def twins(request, tmp_path):
    """Folders of the same objects, in y-up files and in others."""
    rng = np.random.default_rng(3)
    for name, height in (("plate", 0.2), ("pole", 4)):
        for index in range(4):
            cloud = rng.normal(size=(40, 3)) * [1, height, 1.5] + [7, 30, -2]
            for root, up in (("y_up", "y"), ("other", request.param)):
                (tmp_path / root / name).mkdir(parents=True, exist_ok=True)
                np.save(tmp_path / root / name / f"{index}.npy", lay_down(cloud, up))
    return open_split(tmp_path / "y_up", "train"), open_split(tmp_path / "other", "train", up=request.param)


def test_clouds_are_upright_whatever_axis_is_vertical_in_the_files(twins):
    for upright, turned in zip(*twins, strict=True):
        np.testing.assert_array_equal(turned.points, upright.points)
        assert turned.label == upright.label


def test_turns_are_rotations_that_round_nothing():
    cloud = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    for up, column in zip(AXES, range(3), strict=True):
        turn = turn_upright(np.eye(3), up)
        assert np.linalg.det(turn) == pytest.approx(1) and np.array_equal(turn @ turn.T, np.eye(3))  # never a mirror
        turned = turn_upright(cloud, up)
        assert turned.dtype == np.float32
        np.testing.assert_array_equal(turned[:, 1], cloud[:, column])
        np.testing.assert_array_equal(np.sort(np.abs(turned), axis=1), np.sort(np.abs(cloud), axis=1))
    np.testing.assert_array_equal(turn_upright(np.array([[1.0, 2, 3]]), "z"), [[1, 3, -2]])
    np.testing.assert_array_equal(turn_upright(np.array([[1.0, 2, 3]]), "x"), [[-2, 1, 3]])


def test_rotation_of_training_clouds_is_about_the_vertical_axis(twins):
    """The heights of the file's own vertical axis come back from every epoch."""
    _, turned = twins
    loader = make_loader(
        turned, points=40, batch_size=len(turned), train=True, augmentation="scan_rot", sampling="first"
    )
    batch = next(iter(loader))
    for points, index in zip(batch["points"], batch["index"], strict=True):
        stored = turned[int(index)].points
        np.testing.assert_array_equal(np.sort(points[:, 1]), np.sort(stored[:, 1]))
        assert np.abs(np.sort(points[:, 0]) - np.sort(stored[:, 0])).max() > 0.01


def test_what_is_no_axis_is_refused(tmp_path):
    with pytest.raises(PccloraError, match="up"):
        from_dict(FolderConfig, {"root": ".", "up": "w"}, source="test")
    with pytest.raises(PccloraError, match="up is 'Z'; the vertical axis is x, y or z"):
        FolderConfig(root=str(tmp_path), up="Z")
