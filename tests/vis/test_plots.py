"""Pictures: written whole, of readable size, in colours that differ in lightness as well as hue."""

import numpy as np
import pytest
from matplotlib.figure import Figure

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


class Drawn:
    """The axes of the pictures that are drawn, as matplotlib has them."""

    def __init__(self, monkeypatch):
        self.figures = []
        save = Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda own, *a, **k: (self.figures.append(own), save(own, *a, **k)))

    @property
    def axes(self):
        return self.figures[-1].axes


@pytest.fixture
def drawn(monkeypatch):
    return Drawn(monkeypatch)


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(("epochs", "every", "joined"), [(30, 10, False), (30, 2, True), (4, 1, True)])
def test_no_line_is_drawn_through_a_few_evaluations(tmp_path, drawn, epochs, every, joined):
    for epoch in range(1, epochs + 1):
        held = {"test_loss": 1.0, "test_accuracy": 0.5} if epoch % every == 0 else {}
        row = {"epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "test_loss": None, "test_accuracy": None}
        append_row(tmp_path / "m.csv", row | held)
    draw_curves(tmp_path / "m.csv", tmp_path / "c.png", title="t")
    train, test = drawn.axes[1].get_lines()
    assert train.get_linestyle() == "-" and (test.get_linestyle() != "None") == joined


def test_curves_tell_last_values_chance_and_the_epoch_that_was_kept(tmp_path, drawn):
    for epoch in (1, 2, 3):
        row = {"epoch": epoch, "train_loss": 1 / epoch, "train_accuracy": 0.25 * epoch}
        append_row(tmp_path / "m.csv", row | {"validation_loss": 0.5, "validation_accuracy": 0.2 * epoch})
    draw_curves(tmp_path / "m.csv", tmp_path / "c.png", title="t", constant={"accuracy": 0.1}, kept=2)
    loss, accuracy = drawn.axes
    assert legend(loss) == ["train  0.333", "validation  0.5", "weights kept: epoch 2"]
    told = ["train  75.0 %", "validation  60.0 %", "most frequent class  10.0 %", "weights kept: epoch 2"]
    assert legend(accuracy) == told
    assert accuracy.get_ylim() == (0, 102) and loss.get_ylim()[0] == 0
    rings = [line.get_xydata().tolist() for line in accuracy.get_lines() if line.get_markersize() > 8]
    assert [[2, 50.0]] in rings and [[2, 40.0]] in rings


def test_confusion_has_the_recall_of_each_class(tmp_path, drawn):
    confusion = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]])
    draw_confusion(confusion, ["a", "b", "c"], tmp_path / "c.png", title="t")
    (matrix,) = drawn.axes
    (recalls,) = matrix.child_axes
    assert [text.get_text() for text in recalls.get_yticklabels()] == ["75%", "no object", "50%"]


@pytest.mark.parametrize(
    ("names", "turn"),
    [(["cup", "mug", "can"], 0), (["a long name", "b", "c", "d", "e", "f", "g"], 45), (["class"] * 40, 90)],
)
def test_names_stand_on_end_only_where_there_are_many(tmp_path, drawn, names, turn):
    draw_confusion(np.eye(len(names), dtype=np.int64), names, tmp_path / "c.png", title="t")
    assert {text.get_rotation() for text in drawn.axes[0].get_xticklabels()} == {turn}


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
