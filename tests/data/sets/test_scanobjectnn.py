"""ScanObjectNN in exactly the official form: data (M, 2048, 3), label (M,), mask (M, 2048) with -1 background."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcclora.data import ScanObjectNNConfig, make_loader, normalize_unit_sphere
from pcclora.data.sets.scanobjectnn import CLASS_NAMES, VARIANTS, expected_counts, variant_file
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.tools.prepare.scanobjectnn import main as prepare

COUNT, POINTS = 4, 32


def write(path, *, count=COUNT, points=POINTS, **changed):
    """Write a file; a changed array of None is left out."""
    rng = np.random.default_rng(len(str(path.name)))
    arrays = {
        "data": (rng.normal(size=(count, points, 3)) / 3 + 0.5).astype(np.float32),
        "label": (np.arange(count) * 5 % 15).astype(np.int64),
        "mask": np.where(rng.random((count, points)) < 0.4, -1, 7).astype(np.int32),
    } | changed
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            if array is not None:
                file.create_dataset(key, data=array, compression="gzip")
    return arrays


@pytest.fixture
def tree(tmp_path):
    """Every variant's files, four objects each."""
    for variant in VARIANTS:
        for split in ("train", "test"):
            write(variant_file(tmp_path, variant, split))
    return tmp_path


def open_split(root, split="train", **settings):
    config = ScanObjectNNConfig(root=str(root), **{"incomplete": True, **settings})
    return DATASETS.build(config, split=split)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_variant_is_read_as_stored(variant, split, tmp_path):
    stored = write(variant_file(tmp_path, variant, split))
    dataset = open_split(tmp_path, split, variant=variant)
    assert (len(dataset), dataset.split, dataset.name) == (COUNT, split, f"scanobjectnn {variant}")
    np.testing.assert_array_equal(dataset.labels, stored["label"])
    for index in range(COUNT):
        sample = dataset[index]
        np.testing.assert_array_equal(sample.points, stored["data"][index])
        np.testing.assert_array_equal(sample.part_labels, stored["mask"][index] != -1)
        assert sample.part_labels.dtype == np.int64 and sample.label == stored["label"][index]
        dataset.parts.check(sample.part_labels, sample.label, sample.path)


def test_files_and_classes_have_their_official_names():
    files = {variant: str(variant_file(Path(), variant, "train")) for variant in VARIANTS}
    assert files["OBJ_BG"] == "main_split/training_objectdataset.h5"
    assert files["OBJ_ONLY"] == "main_split_nobg/training_objectdataset.h5"
    assert files["PB_T25"] == "main_split/training_objectdataset_augmented25_norot.h5"
    assert files["PB_T25_R"] == "main_split/training_objectdataset_augmented25rot.h5"
    assert files["PB_T50_R"] == "main_split/training_objectdataset_augmentedrot.h5"
    assert files["PB_T50_RS"] == "main_split/training_objectdataset_augmentedrot_scale75.h5"
    assert (CLASS_NAMES[0], CLASS_NAMES[9:11], CLASS_NAMES[14], len(CLASS_NAMES)) == (
        "bag",
        ("table", "bed"),
        "toilet",
        15,
    )


def test_background_can_be_left_out(tree):
    whole, objects = open_split(tree), open_split(tree, background=False)
    for index in range(COUNT):
        kept = whole[index].part_labels == 1
        np.testing.assert_array_equal(objects[index].points, whole[index].points[kept])
        assert objects[index].part_labels.all() and 0 < len(objects[index].points) < POINTS
    batch = next(iter(make_loader(objects, points=8, batch_size=COUNT, train=False)))
    assert batch["points"].shape == (COUNT, 8, 3)


def test_mask_is_the_ground_truth_of_a_segmentation(tree):
    batch = next(iter(make_loader(open_split(tree), points=16, batch_size=2, train=True, part_labels=True)))
    assert set(batch["part_labels"].unique().tolist()) == {0, 1}


def test_points_are_normalised_when_asked(tree):
    plain = open_split(tree, background=False)[0].points
    assert np.abs(plain.mean(axis=0)).max() > 0.1
    sample = open_split(tree, normalize=True, background=False)[0]
    np.testing.assert_array_equal(sample.points, normalize_unit_sphere(plain))


def test_the_name_says_what_changes_the_numbers(tree):
    assert open_split(tree, background=False, normalize=True).name == (
        "scanobjectnn PB_T50_RS, background left out, normalised"
    )


def test_a_file_without_mask(tmp_path):
    write(variant_file(tmp_path, "OBJ_ONLY", "train"), mask=None)
    write(variant_file(tmp_path, "OBJ_BG", "train"), mask=None)
    dataset = open_split(tmp_path, variant="OBJ_ONLY", background=False)
    assert dataset.parts is None and dataset[0].part_labels is None and len(dataset[0].points) == POINTS
    with pytest.raises(PccloraError, match=r"no key 'mask', so the background is not known; set background to true"):
        open_split(tmp_path, variant="OBJ_BG", background=False)


COUNTS = {"train": (2309, 11416), "test": (581, 2882)}


@pytest.mark.parametrize("split", COUNTS)
def test_the_official_counts_are_accepted(split, tmp_path):
    plain, hardest = COUNTS[split]
    for variant, count in (("OBJ_BG", plain), ("OBJ_ONLY", plain), ("PB_T50_RS", hardest), ("PB_T25", hardest + 9)):
        write(variant_file(tmp_path, variant, split), count=count, points=1)
        assert len(open_split(tmp_path, split, variant=variant, incomplete=False)) == count


@pytest.mark.parametrize(
    ("variant", "holds", "message"),
    [
        (
            "PB_T50_RS",
            2309,
            r"2,309 objects \(as many as OBJ_BG or OBJ_ONLY\), PB_T50_RS has 11,416 in its train split",
        ),
        (
            "OBJ_BG",
            11416,
            r"11,416 objects \(as many as PB_T25 or PB_T25_R or PB_T50_R or PB_T50_RS\), OBJ_BG has 2,309",
        ),
        ("OBJ_ONLY", 581, r"581 objects, OBJ_ONLY has 2,309 in its train split; set variant to what the file holds"),
        ("PB_T25_R", 2309, r"2,309 objects \(as many as .*\), PB_T25_R has 9,237 to 11,545"),
    ],
)
def test_a_file_of_another_variant_is_refused(variant, holds, message, tmp_path):
    write(variant_file(tmp_path, variant, "train"), count=holds, points=1)
    with pytest.raises(PccloraError, match=message) as caught:
        open_split(tmp_path, variant=variant, incomplete=False)
    assert str(variant_file(tmp_path, variant, "train")) in str(caught.value)
    assert len(open_split(tmp_path, variant=variant)) == holds


@given(st.sampled_from(sorted(VARIANTS)), st.sampled_from(sorted(COUNTS)))
def test_no_count_fits_a_plain_and_a_perturbed_variant(variant, split):
    least, largest = expected_counts(variant, split)
    plain, hardest = COUNTS[split]
    assert (least <= plain <= largest) is variant.startswith("OBJ")
    assert (least <= hardest <= largest) is variant.startswith("PB")


DAMAGE = {
    "label range": ({"label": np.array([0, 15, 3, 4])}, r"label 15 is not in 0\.\.14"),
    "negative label": ({"label": np.array([0, 1, -1, 4])}, r"label -1 is not in 0\.\.14"),
    "half label": ({"label": np.array([0, 0.5, 3, 4])}, "one whole number a sample"),
    "labels a point": ({"label": np.zeros((COUNT, POINTS), int)}, "one whole number a sample"),
    "no label": ({"label": None}, "no key 'label', it has data, mask"),
    "two columns": ({"data": np.zeros((COUNT, POINTS, 2))}, r"'data' must be \(samples, points, 3\)"),
    "flat": ({"data": np.zeros((COUNT, POINTS))}, r"'data' must be \(samples, points, 3\)"),
    "lengths": ({"label": np.zeros(3, int)}, "one common length"),
    "mask size": ({"mask": np.zeros((COUNT, 5), int)}, r"'mask' must be \(4, 32\), found \(4, 5\)"),
    "mask nan": ({"mask": np.full((COUNT, POINTS), np.nan)}, "'mask' has values that are no numbers"),
    "channels first": ({"data": np.zeros((COUNT, 3, POINTS))}, "'data'.* channels first"),
    "mask text": ({"mask": np.full((COUNT, POINTS), b"x")}, "'mask' must hold real numbers"),
    "nan": ({"data": np.full((COUNT, POINTS, 3), np.nan)}, "NaN or infinite"),
    "all background": ({"mask": np.full((COUNT, POINTS), -1)}, "every point is background"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_error_that_names_the_file(kind, tmp_path):
    changed, message = DAMAGE[kind]
    file = variant_file(tmp_path, "PB_T50_RS", "train")
    write(file, **changed)
    with pytest.raises(PccloraError, match=message) as caught:
        open_split(tmp_path, background=kind != "all background")[0]
    assert str(file) in str(caught.value)


def test_labels_and_masks_may_be_stored_as_whole_floats(tmp_path):
    file = variant_file(tmp_path, "PB_T50_RS", "train")
    stored = write(file, label=np.array([[0.0], [14.0], [3.0], [2.0]]), mask=np.full((COUNT, POINTS), 3.0))
    dataset = open_split(tmp_path)
    assert dataset.labels.tolist() == [0, 14, 3, 2] and dataset.labels.dtype == np.int64
    assert dataset[0].part_labels.all() and len(stored["label"]) == COUNT


def test_absent_files_and_names(tmp_path):
    with pytest.raises(PccloraError, match=r"no root is given.*datasets/scanobjectnn/README\.md"):
        open_split("")
    with pytest.raises(
        PccloraError, match=r"main_split/training_objectdataset_augmentedrot_scale75\.h5; root is the folder"
    ):
        open_split(tmp_path)
    with pytest.raises(PccloraError, match="no split 'val'"):
        open_split(tmp_path, "val")
    with pytest.raises(PccloraError, match=r"variant is 'hardest'; ScanObjectNN has OBJ_BG, .*PB_T50_RS"):
        ScanObjectNNConfig(variant="hardest")


def test_prepare_counts_what_is_there(tree, capsys):
    before = sorted(tree.rglob("*"))
    prepare([str(tree), "--incomplete"])
    report = capsys.readouterr().out
    assert report.count("4 objects") == 2 * len(VARIANTS) and "32 points" in report and "% background" in report
    assert "bag 2, bin 0" in report
    assert sorted(tree.rglob("*")) == before


def test_prepare_reports_what_is_wrong(tree, tmp_path):
    def wrong(*arguments):
        with pytest.raises(PccloraError) as error:
            prepare(list(map(str, arguments)))
        return str(error.value)

    error = wrong(tree, "--variant", "OBJ_BG")
    assert "OBJ_BG train" in error and "2,309" in error and "Where to get it" in error and "PB_T25" not in error
    variant_file(tree, "PB_T50_R", "test").unlink()
    assert "PB_T50_R test: " in wrong(tree, "--incomplete")
    assert "does not exist" in wrong(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no file of any variant" in wrong(tmp_path / "empty")
