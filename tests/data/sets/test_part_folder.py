import json

import numpy as np
import pytest
import trimesh

from pcclora.data import PartFolderConfig, make_loader, normalize_unit_sphere
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

NAMES = "mug: [handle, cup]\nchair: [back, seat, leg]\n"


def cloud(count, parts, seed=0):
    """Points (N, 3) far from the origin, as a scan's are, and labels 0 to parts - 1."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 3)) + 1e6, np.arange(count) % parts


def fill(folder, count, parts):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        points, labels = cloud(30 + index, parts, index)
        if index % 2:
            np.savez(folder / f"{index}.npz", points=points, label=labels)
        else:
            np.savetxt(folder / f"{index}.txt", np.column_stack([points, labels]))


def open_split(root, split="train", **settings):
    return DATASETS.build(PartFolderConfig(root=str(root), **settings), split=split)


@pytest.mark.parametrize("layout", ["train/mug", "mug/train", "mug"])
def test_three_layouts(layout, tmp_path):
    (tmp_path / "parts.yaml").write_text(NAMES)
    for category, parts in (("mug", 2), ("chair", 3)):
        for split, count in (("train", 4), ("test", 2)):
            fill(
                tmp_path / layout.replace("mug", category).replace("train", split), count + 3 * (layout == "mug"), parts
            )
    train, test = open_split(tmp_path), open_split(tmp_path, "test")
    assert train.class_names == test.class_names == ("mug", "chair")
    assert train.parts.names == ("mug: handle", "mug: cup", "chair: back", "chair: seat", "chair: leg")
    assert train.parts.of_class == ((0, 1), (2, 3, 4))
    assert {train[i].path for i in range(len(train))}.isdisjoint(test[i].path for i in range(len(test)))
    for index in range(len(train)):
        sample = train[index]
        assert set(sample.part_labels) == set(train.parts.of_class[sample.label])
    batch = next(iter(make_loader(train, points=16, batch_size=4, train=True, part_labels=True)))
    assert batch["part_labels"].shape == (4, 16)


@pytest.mark.parametrize("split_by_user", [True, False])
def test_a_single_category_needs_no_folder_and_a_file_keeps_its_order(split_by_user, tmp_path):
    (tmp_path / "parts.json").write_text(json.dumps({"vase": ["body", "neck"]}))
    for folder in [tmp_path / "train", tmp_path / "test"] if split_by_user else [tmp_path]:
        fill(folder, 5, 2)
    data = open_split(tmp_path)
    assert data.class_names == ("vase",) and len(data) == (5 if split_by_user else 4)
    points, labels = cloud(30, 2)
    every = [each[i] for each in (data, open_split(tmp_path, "test")) for i in range(len(each))]
    stored = [sample for sample in every if sample.path.endswith("0.txt")]
    assert stored
    for sample in stored:
        np.testing.assert_allclose(sample.points, normalize_unit_sphere(points), atol=1e-6)
        np.testing.assert_array_equal(sample.part_labels, labels)


def test_a_ply_of_labels_is_read_and_a_large_cloud_is_thinned_with_its_labels(tmp_path):
    (tmp_path / "parts.yaml").write_text("box: [low, high]")
    points = np.random.default_rng(0).normal(size=(500, 3))
    mesh = trimesh.Trimesh(points, np.empty((0, 3), int), process=False)
    mesh.vertex_attributes["label"] = (points[:, 1] > 0).astype(np.int32)
    for index in range(2):
        (tmp_path / f"{index}.ply").write_bytes(trimesh.exchange.ply.export_ply(mesh))
    data = open_split(tmp_path, points=100, normalize=False, cache=False)
    assert len(data[0].points) == 100
    np.testing.assert_array_equal(data[0].part_labels, data[0].points[:, 1] > 0)
    np.testing.assert_array_equal(data[0].points, data[0].points)


def test_a_scan_with_another_axis_up_is_turned_with_its_labels(tmp_path):
    (tmp_path / "parts.yaml").write_text("pole: [low, high]")
    points = np.random.default_rng(1).normal(size=(300, 3)) + np.array([5, 0, -5])
    high = points[:, 2] > -5
    for index in range(2):
        np.savez(tmp_path / f"{index}.npz", points=points, label=high.astype(int))
    sample = open_split(tmp_path, points=100, normalize=False, up="z")[0]
    assert len(sample.points) == 100
    np.testing.assert_array_equal(sample.part_labels, sample.points[:, 1] > -5)
    assert {tuple(p) for p in sample.points} <= {(x, z, -y) for x, y, z in points.astype(np.float32).tolist()}


def test_columns_are_what_the_user_says_they_are(tmp_path):
    (tmp_path / "parts.yaml").write_text("pole: [low, high, top]")
    rng = np.random.default_rng(1)
    table = np.c_[rng.integers(0, 3, 60), rng.normal(size=(60, 3)), rng.integers(0, 2, 60)]
    for index in range(2):
        np.save(tmp_path / f"{index}.npy", table)
    sample = open_split(tmp_path, normalize=False, columns=("label", "x", "y", "z", "intensity"))[0]
    np.testing.assert_array_equal(sample.part_labels, table[:, 0])
    np.testing.assert_allclose(sample.points, table[:, 1:4], rtol=1e-6)
    with pytest.raises(PccloraError, match="unknown name 'zz'"):
        open_split(tmp_path, columns=("x", "y", "zz"))


BAD_NAMES = {
    "": "no category in it",
    "chair: leg": "'chair' must have a list of part names, found 'leg'",
    "chair: []": r"'chair' must have a list of part names, found \[\]",
    "chair: [leg, leg]": "'chair' names a part twice",
    "chair: [caf\u00e9, cafe\u0301]": "'chair' names a part twice",
    "chair: [leg, ' ']": "'chair' must have a list of part names",
    "chair: [leg": "cannot be read as YAML",
    "- chair": "a mapping of keys is expected",
    "chairs: [leg]\nmug: [cup]": r"no parts of .*chair; did you mean 'chairs'",
    "chair: [leg, seat]\nmug: [cup]": r"mug is absent",
}


@pytest.mark.parametrize("text", BAD_NAMES)
def test_a_names_file_that_does_not_fit_is_refused(text, tmp_path):
    fill(tmp_path / "chair", 2, 2)
    (tmp_path / "parts.yaml").write_text(text)
    with pytest.raises(PccloraError, match=BAD_NAMES[text]):
        open_split(tmp_path)


def test_bad_files_are_named(tmp_path):
    folder = tmp_path / "chair"
    fill(folder, 1, 2)
    with pytest.raises(PccloraError, match=r"has no parts\.yaml with lines as"):
        open_split(tmp_path)
    (tmp_path / "parts.yaml").write_text("chair: [seat, leg]")
    file = folder / "0.txt"
    rows = {
        "1 2 3\n4 5 6\n": r"0\.txt: no part labels .*data.columns=.*the last of 4, 7, 8, 10 or 11",
        "1 2 3 0.5\n4 5 6 1\n": "no part labels",
        "1 2 3 -1\n4 5 6 1\n": "no part labels",
        "1 2 3 0\n4 5 6 2\n": r"part label 2 at point 1 \(1 such points\); the names file has 0\.\.1: chair: seat",
        "1 2 3 1\n4 5 6 2\n": r"the names file has 0\.\.1: chair: seat, chair: leg; do they count from 1\?",
        "1 2 nan 0\n4 5 inf 1\n": r"all 2 points are NaN or infinite",
        "": "the file is empty",
    }
    for text, message in rows.items():
        file.write_text(text)
        with pytest.raises(PccloraError, match=message) as caught:
            open_split(tmp_path)[0]
        assert str(file) in str(caught.value)
    with pytest.raises(PccloraError, match="no split 'val'"):
        open_split(tmp_path, "val")
