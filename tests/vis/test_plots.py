"""Pictures: written whole, of readable size, in colours that differ in lightness as well as hue."""

import numpy as np
import pytest

from pcclora.engine.run_folder import append_row
from pcclora.vis import draw_confusion, draw_curves, draw_iou_bars, palette


def picture(path):
    from matplotlib.image import imread

    return imread(path)


def test_curves_have_ink_of_both_splits(tmp_path):
    for epoch in range(1, 9):
        held = {"test_loss": 1.2 / epoch, "test_accuracy": 0.08 * epoch} if epoch % 4 == 0 else {}
        row = {"epoch": epoch, "lr": 1e-3, "train_loss": 1 / epoch, "train_accuracy": 0.1 * epoch}
        append_row(tmp_path / "metrics.csv", row | dict.fromkeys(("test_loss", "test_accuracy")) | held)
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png", title="data · model · adapter")
    pixels = picture(tmp_path / "curves.png")[..., :3]
    for colour in (palette.BLUE, palette.VERMILION):
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        assert (np.abs(pixels - rgb).max(axis=-1) < 0.02).sum() > 100


@pytest.mark.parametrize("classes", [2, 16, 40])
def test_confusion_of_any_size(tmp_path, classes):
    confusion = np.eye(classes, dtype=np.int64) * 9 + 1
    draw_confusion(confusion, [f"class {i}" for i in range(classes)], tmp_path / "c.png", title="title")
    height, width, _ = picture(tmp_path / "c.png").shape
    assert 500 < height < 3000 and 500 < width < 3000
    assert [p.name for p in tmp_path.iterdir()] == ["c.png"]


def test_a_class_without_samples_draws(tmp_path):
    draw_confusion(np.array([[3, 0], [0, 0]]), ["a", "b"], tmp_path / "c.png", title="title")


def test_the_two_curves_differ_in_lightness():
    """A difference that no form of colour blindness takes away."""

    def lightness(colour):
        return [int(colour[i : i + 2], 16) for i in (1, 3, 5)] @ np.array([0.2126, 0.7152, 0.0722])

    assert abs(lightness(palette.BLUE) - lightness(palette.VERMILION)) > 15
    assert len(set(palette.CYCLE)) == len(palette.CYCLE)


def test_curves_of_part_segmentation_have_a_panel_more(tmp_path):
    for epoch in (1, 2):
        row = {"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 1.0, "test_accuracy": 0.5}
        append_row(tmp_path / "cls.csv", row)
        append_row(tmp_path / "partseg.csv", row | {"test_instance_miou": 0.1 * epoch})
    for name in ("cls", "partseg"):
        draw_curves(tmp_path / f"{name}.csv", tmp_path / f"{name}.png", title="title")
    assert picture(tmp_path / "partseg.png").shape[1] > 1.3 * picture(tmp_path / "cls.png").shape[1]


@pytest.mark.parametrize("count", [1, 16, 55])
def test_bars_are_as_long_as_the_iou(tmp_path, count):
    categories = {f"category {n}": {"iou": (n + 1) / count, "shapes": n} for n in range(count)}
    draw_iou_bars(categories, tmp_path / "b.png", title="title\ninstance mIoU 50%")
    pixels = picture(tmp_path / "b.png")[..., :3]
    blue = np.abs(pixels - np.array([0x00, 0x72, 0xB2]) / 255).max(axis=2) < 0.02
    widths = blue.sum(axis=1)
    rows = np.flatnonzero(widths > 0)
    bars = [widths[part].max() for part in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)]
    assert len(bars) == count
    np.testing.assert_allclose(np.array(bars) / bars[-1], (np.arange(count) + 1) / count, atol=0.03)
