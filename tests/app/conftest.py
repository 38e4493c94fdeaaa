"""Scans of made objects, their true parts, and a session on them."""

from pathlib import Path

import numpy as np
import pytest

from pcclora.app.labels import LabelFolder
from pcclora.app.session import Session
from pcclora.data.sets.procedural.clouds import ProceduralConfig, ProceduralDataset

POINTS = 800


def made(category: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first objects of a class: points in millimetres, and parts from 0."""
    data = ProceduralDataset(ProceduralConfig(points=POINTS), split="train")
    label = data.class_names.index(category)
    found = [data[int(index)] for index in np.flatnonzero(data.labels == label)[:count]]
    return [(sample.points * 1000, sample.part_labels - data.parts.of_class[label][0]) for sample in found]


def write_scans(folder: Path, category: str, count: int, *, labelled: bool = False) -> list[Path]:
    """Write them as text, one a file; with their parts as the last column or without."""
    paths = []
    for number, (points, parts) in enumerate(made(category, count)):
        paths.append(folder / f"{category}_{number}.xyz")
        table = np.column_stack([points, parts]) if labelled else points
        header = "x y z label" if labelled else "x y z"
        np.savetxt(paths[-1], table, fmt="%.4f", header=header, comments="//")
    return paths


@pytest.fixture
def scans(tmp_path) -> list[Path]:
    """Three chairs without labels."""
    folder = tmp_path / "scans"
    folder.mkdir()
    return write_scans(folder, "chair", 3)


@pytest.fixture
def folder(tmp_path) -> LabelFolder:
    """A label folder with the class chair and its parts."""
    labels = LabelFolder(tmp_path / "labels")
    labels.add_category("chair")
    for part in ("back", "seat", "leg", "arm"):
        labels.add_part("chair", part)
    return labels


@pytest.fixture
def session(scans, folder) -> Session:
    """Chairs to label."""
    return Session(scans, folder)
