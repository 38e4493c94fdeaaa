"""The test images that a run is surest of, right and wrong, and those that it is least sure of, as one PNG."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.runs.answers import remarkable
from pcclora.runs.segmented import ClassAnswer
from pcclora.runs.splits import open_side
from pcclora.tasks.images import ImageClassification
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import ImageRun
from pcclora.vis.grid import PANEL, Panel, draw_grid

SIDE, GAP = 138, 6
"""Pixels: the side of a picture, and what lies between the two."""


def draw_image_gallery(folder: RunFolder, target: Path, *, title: str) -> None:
    """Draw test images with their classes: at the left the file, at the right what the model sees of it.

    Args:
        folder: A finished image run, whose data are where they were.
        target: The PNG to write or replace.
        title: Data set, model, adapter.

    Raises:
        PccloraError: If the run is none of images, or the data cannot be read.
    """
    config = load_run_config(folder.config)
    if not isinstance(config, ImageRun):
        raise PccloraError(f"{folder.path}: its task is '{config.task}'; an image run is needed here")
    dataset = open_side(config, folder.path)
    seen = ImageClassification().test_loader(config, dataset).dataset
    sections = {
        kind: [
            Panel(
                _beside(dataset[answer.index].pixels, seen[0, answer.index].pixels),
                name=answer.truth,
                file=answer.name,
                answer=ClassAnswer(((answer.guess, answer.confidence),), truth=answer.truth),
            )
            for answer in answers
        ]
        for kind, answers in remarkable(folder).items()
    }
    draw_grid(sections, target, title=f"{title}: each file, and what the model sees of it")


def _beside(file: NDArray[np.uint8], seen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two images in one panel, on white."""
    page = np.full((SIDE, PANEL[0], 3), 255, np.uint8)
    left = (PANEL[0] - 2 * SIDE - GAP) // 2
    for x, pixels in ((left, file), (left + SIDE + GAP, seen)):
        fitted = _fitted(pixels)
        height, width, _ = fitted.shape
        y, x = (SIDE - height) // 2, x + (SIDE - width) // 2
        page[y : y + height, x : x + width] = fitted
    return page


def _fitted(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale an image to the side of a picture; one that is smaller keeps its square pixels."""
    height, width, _ = pixels.shape
    scale = SIDE / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize(size, how))
