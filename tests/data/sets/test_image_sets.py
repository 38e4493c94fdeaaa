"""The image data sets without lists: the user's folders, scikit-learn's digits, made-up images."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pcclora.data import (
    DigitsConfig,
    DigitsDataset,
    ImageFolderConfig,
    ImageFolderDataset,
    ProceduralImagesConfig,
    ProceduralImagesDataset,
)
from pcclora.data.sets.procedural.silhouettes import SHAPES, TEXTURES
from pcclora.errors import PccloraError
from tests.data.image_trees import save


@pytest.mark.parametrize("layout", ["{split}/{name}", "{name}/{split}", "{name}"])
def test_own_images_are_found_in_any_layout(tmp_path, layout):
    for name in ("cat", "dog"):
        for number in range(5):
            split = "test" if number == 4 else "train"
            save(
                tmp_path / layout.format(split=split, name=name) / f"{number}.{'JPG' if number else 'png'}", seed=number
            )
    found = {}
    for split in ("train", "test"):
        dataset = ImageFolderDataset(ImageFolderConfig(root=str(tmp_path)), split=split)
        assert dataset.class_names == ("cat", "dog") and dataset[0].pixels.shape == (18, 24, 3)
        found[split] = {sample.path for sample in (dataset[i] for i in range(len(dataset)))}
    assert len(found["train"]) == 8 and len(found["test"]) == 2 and not found["train"] & found["test"]


def test_own_images_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(PccloraError, match="image_folder: no root is given"):
        ImageFolderDataset(ImageFolderConfig(), split="train")
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "scan.ply").write_text("ply")
    with pytest.raises(PccloraError, match=r"a class needs files \(.jpg .jpeg .png .*cat has none"):
        ImageFolderDataset(ImageFolderConfig(root=str(tmp_path)), split="train")
    (tmp_path / "cat" / "a.jpg").write_text("no image")
    with pytest.warns(UserWarning, match="1 files of other formats"):
        dataset = ImageFolderDataset(ImageFolderConfig(root=str(tmp_path)), split="train")
    with pytest.raises(PccloraError, match="a.jpg: damaged"):
        dataset[0]


def test_digits_are_scikit_learns_and_each_is_in_one_split():
    scans, digits = load_digits(return_X_y=True)
    splits = [DigitsDataset(DigitsConfig(), split=split) for split in ("train", "test")]
    assert [len(split) for split in splits] == [1438, 359]
    assert sorted(np.concatenate([split.rows for split in splits])) == list(range(1797))
    for split in splits:
        np.testing.assert_array_equal(split.labels, digits[split.rows])
        sample = split[7]
        assert sample.pixels.shape == (8, 8, 3) and sample.pixels.dtype == np.uint8
        np.testing.assert_array_equal(np.rint(sample.pixels[..., 1] / 255 * 16).ravel(), scans[split.rows[7]])
    assert np.bincount(splits[1].labels).min() >= 35


def test_low_and_high_digits_are_the_two_halves():
    for classes, first in (("low", 0), ("high", 5)):
        dataset = DigitsDataset(DigitsConfig(classes=classes), split="test")
        assert dataset.class_names == tuple(str(first + i) for i in range(5)) and set(dataset.labels) == set(range(5))
        np.testing.assert_array_equal(load_digits(return_X_y=True)[1][dataset.rows], dataset.labels + first)
    with pytest.raises(PccloraError, match="no split 'val'"):
        DigitsDataset(DigitsConfig(), split="val")
    with pytest.raises(PccloraError, match="classes is 'odd'"):
        DigitsConfig(classes="odd")


def make(split="train", **settings):
    return ProceduralImagesDataset(ProceduralImagesConfig(**({"train": 80, "test": 40} | settings)), split=split)


def test_a_made_up_image_depends_on_seed_split_and_index_alone():
    first, again = make(), make(train=60)
    for index in (45, 3, 45):
        np.testing.assert_array_equal(first[index].pixels, again[index].pixels)
    for other in (make(seed=1), make("test")):
        assert not np.array_equal(first[3].pixels, other[3].pixels)
    assert first[3].pixels.shape == (32, 32, 3) and first[3].pixels.dtype == np.uint8
    assert make(size=48)[0].pixels.shape == (48, 48, 3)
    assert np.bincount(first.labels).tolist() == [2] * 40
    assert first.class_names[:6] == (
        "plain disk", "striped disk", "checked disk", "dotted disk", "mottled disk", "plain square",
    )  # fmt: skip


def test_made_up_images_stay_as_they_are():
    """Weights are pre-trained on them: a change of one draw makes these another data set."""
    pixels = np.stack([make()[i].pixels for i in range(80)]).astype(float)
    assert pixels.mean() == pytest.approx(129.087, abs=0.01)
    assert pixels.std() == pytest.approx(56.605, abs=0.01)


def test_shapes_and_textures_are_unlike_each_other():
    axis = (np.arange(64) + 0.5) / 32 - 1
    x, y = np.meshgrid(axis, -axis)
    inside = {name: shape(x, y) < 0 for name, shape in SHAPES.items()}
    for name, mask in inside.items():
        assert 0.1 < mask.mean() < 0.7 and not (mask & (np.hypot(x, y) > 1.02)).any(), name
        assert min(np.logical_xor(mask, other).mean() for key, other in inside.items() if key != name) > 0.05, name
    table = np.random.default_rng(0).random(64)
    shares = {name: texture(3 * x, 3 * y, table) for name, texture in TEXTURES.items()}
    assert all(0 <= share.min() <= share.max() <= 1 for share in shares.values())
    assert not shares["plain"].any() and all(share.std() > 0.2 for name, share in shares.items() if name != "plain")


def test_the_class_shows_in_the_pixels_and_the_less_the_more_difficult():
    """Pixels whose colour is not the ground's give the shape: a nearest mask among those of a shape's own images."""

    def found(difficulty):
        data = make(difficulty=difficulty, train=600)
        pixels = np.stack([data[i].pixels for i in range(600)]).astype(float)
        masks = (np.abs(pixels - pixels[:, :1, :1]).max(axis=3) > 40).reshape(600, -1)
        shapes = data.labels // len(TEXTURES)
        nearest = [(masks[:400] ^ mask).mean(axis=1).argmin() for mask in masks[400:]]
        return (shapes[nearest] == shapes[400:]).mean()

    easy, hard = found(0.0), found(1.0)
    assert easy > 0.4 and easy > 2 * hard, (easy, hard)  # an eighth by chance


@pytest.mark.parametrize("settings", [{"train": 0}, {"test": 0}, {"size": 4}, {"seed": -1}, {"difficulty": 1.5}])
def test_bad_settings_of_made_up_images_are_refused(settings):
    with pytest.raises(PccloraError, match=next(iter(settings))):
        ProceduralImagesConfig(**settings)
    with pytest.raises(PccloraError, match="no split 'val'"):
        make("val")
