"""Small trees of images in exactly the forms that VTAB-1K and FGVC are passed around in."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = {"train800": 8, "val200": 4, "test": 6}


def save(path: Path, *, seed: int = 0, size: tuple[int, int] = (24, 18)) -> Path:
    """Write a picture of random colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def vtab_task(root: Path, task: str, *, classes: int = 2) -> Path:
    """Write a task as NOAH's script does: each list has its own copies."""
    lists: dict[str, list[tuple[int, int]]] = {
        name: [(first * 100 + i, i % classes) for i in range(count)]
        for first, (name, count) in enumerate(SIZES.items())
    }
    lists["train800val200"] = lists["train800"] + lists["val200"]
    for name, images in lists.items():
        lines = []
        for number, (seed, label) in enumerate(images):
            save(root / task / "images" / name / f"{number:06d}.jpg", seed=seed)
            lines.append(f"images/{name}/{number:06d}.jpg {label}\n")
        (root / task / f"{name}.txt").write_text("".join(lines))
    return root / task


def fgvc_set(root: Path, folder: str, images: str, homes: list[str]) -> Path:
    """Write a set as VPT expects it: two training images of each class, one of the other splits; classes from 1."""
    for split, copies in (("train", 2), ("val", 1), ("test", 1)):
        content = {
            f"{home}{split}_{label}_{i}.jpg": label + 1 for label, home in enumerate(homes) for i in range(copies)
        }
        for seed, name in enumerate(content):
            save(root / folder / images / name, seed=seed)
        (root / folder / f"{split}.json").write_text(json.dumps(content))
    return root / folder
