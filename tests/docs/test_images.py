"""The tutorial of images from beginning to end: each command, in order, with what the one before it left.

The sections on VTAB-1K run on a small tree in its form, with three tasks of the nineteen and the small ViT in the place
of ViT-B/16; what else needs weights from elsewhere is resolved by test_documentation.py.
"""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcclora.data import DigitsConfig, DigitsDataset
from pcclora.data.sets.vtab1k import TASKS as VTAB1K

pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "images.md").read_text()
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)
SMALL = ["model=vit_mini", "model.depth=1", "checkpoint=none", "train.epochs=1", "train.warmup_epochs=0"]
SMALL += ["train.workers=0"]
TASKS = {"svhn": 10, "patch_camelyon": 2, "kitti": 4}
REPLACED = {
    "configs/image/vtab1k/grid_lr.yaml": "grid.yaml",
    "--seeds 0 1 2": "--seeds 0",
    "--jobs 4": "",
    "--jobs 2": "",
    "checkpoint=B_16.npz": "",
    "data.task=cifar": "data.task=kitti",
}

pytestmark = pytest.mark.slow


def blocks(section: str) -> list[tuple[str, str]]:
    """The code of the page from a heading to the next of its rank."""
    return BLOCK.findall(PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0])


def run(line: str, monkeypatch) -> None:
    """Carry a command out at a small size."""
    for what, instead in REPLACED.items():
        line = line.replace(what, instead)
    python, tool, *words = line.split("  #")[0].split()
    assert python == "python"
    new = "train_image" in tool and "--resume" not in words
    words = [str(ROOT / word) if word.startswith("configs/") else word for word in words]
    monkeypatch.setattr(sys, "argv", [tool, *words, *(SMALL if new else [])])
    try:
        runpy.run_path(str(ROOT / tool), run_name="__main__")
    except SystemExit as stopped:
        assert not stopped.code, line


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_a_folder_of_photographs_to_predictions(place, monkeypatch, capsys):
    ((_, example),) = blocks("The folder")
    exec(compile(example, "images.md", "exec"), {})  # noqa: S102
    photos = sorted(place.glob("MY_PHOTOS/*/*/*.png"))
    assert len(photos) == 1797
    for photo in set(photos) - set(photos[1::6]):
        photo.unlink()
    (place / "photo.jpg").write_bytes(photos[1].read_bytes())
    for _, block in blocks("Train, test, predict"):
        for line in block.splitlines():
            run(line, monkeypatch)
    for name in ("gallery.png", "curves.png", "confusion.png", "summary.json", "predictions.csv", "adapter"):
        assert (place / "runs/image/my_photos" / name).exists(), name
    assert "photo.jpg" in capsys.readouterr().out


@pytest.fixture
def few_tasks():
    """VTAB-1K made of three tasks; afterwards it is whole again, in its order."""
    whole = dict(VTAB1K)
    for task in whole.keys() - TASKS.keys():
        del VTAB1K[task]
    yield
    VTAB1K.clear()
    VTAB1K.update(whole)


@pytest.fixture
def three_tasks(place, few_tasks):
    """DATA in the form of VTAB-1K, with three tasks of one group each, and a grid of two points."""
    scans = DigitsDataset(DigitsConfig(), split="test").pixels
    for task, classes in TASKS.items():
        (place / "DATA" / task / "images").mkdir(parents=True)
        lines = [f"images/{number}.png {number % classes}" for number in range(30)]
        for number in range(30):
            Image.fromarray(scans[number]).save(place / "DATA" / task / "images" / f"{number}.png")
        for name in ("train800", "val200", "train800val200", "test"):
            (place / "DATA" / task / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (place / "grid.yaml").write_text("train.lr: [0.001, 0.01]\n")
    return place


def test_vtab_tasks_are_searched_trained_and_tabulated(three_tasks, monkeypatch, capsys):
    lines = [line for _, block in blocks("VTAB-1K") for line in block.splitlines() if "train_image" in line]
    assert len(lines) == 4
    for line in lines:
        run(line, monkeypatch)
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*TASKS, "Natural", "Specialized", "Structured", "mean of the groups"))


def test_the_python_runs(place):
    ((_, example),) = blocks("In Python")
    exec(compile(example, "images.md", "exec"), {})  # noqa: S102
    assert (place / "my_image_adapter" / "adapter_model.safetensors").is_file()


def test_a_preset_has_a_row_and_a_row_a_preset():
    from pcclora.data.image_transforms import IMAGE_PRESETS

    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(IMAGE_PRESETS)


def test_the_architectures_of_the_page_are_timms_and_take_what_it_says():
    from pcclora.models.images.configs import TimmConfig, image_input

    for name in set(re.findall(r"model=timm/([\w.]+)", PAGE)):
        expected = image_input(TimmConfig(name))
        if name.startswith("vit_base_patch16_224"):
            assert expected.mean == expected.std == (0.5, 0.5, 0.5)
    default = TimmConfig("vit_base_patch16_224")
    assert image_input(default, normalization="imagenet").mean == pytest.approx((0.485, 0.456, 0.406))
    import timm

    assert timm.get_pretrained_cfg(default.architecture).tag == "augreg2_in21k_ft_in1k"
    assert np.allclose(image_input(TimmConfig("deit_base_patch16_224")).mean, (0.485, 0.456, 0.406))
    assert np.allclose(image_input(TimmConfig("vit_base_patch16_224.dino")).mean, (0.485, 0.456, 0.406))
