"""Segmented objects to look at, and whether Open3D works here."""

import numpy as np
import pytest

from pcclora.data.sets.procedural.clouds import ProceduralConfig, ProceduralDataset
from pcclora.errors import PccloraError
from pcclora.runs.segmented import SegmentedCloud
from pcclora.vis.open3d_import import import_open3d


@pytest.fixture(scope="session")
def open3d():
    """The module; without it, or a system library that it needs, the test is skipped with the line that installs it."""
    try:
        return import_open3d()
    except PccloraError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chair() -> SegmentedCloud:
    """A procedural chair with its true parts, a prediction with some errors, and probabilities."""
    data = ProceduralDataset(ProceduralConfig(points=600), split="test")
    sample = data[4]
    parts, rng = data.parts.of_class[sample.label], np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(len(parts)), size=600).astype(np.float32)
    wrong = rng.random(600) < 0.1
    return SegmentedCloud(
        points=sample.points,
        category=data.class_names[sample.label],
        part_names=data.parts.names,
        parts=parts,
        truth=sample.part_labels,
        prediction=np.where(wrong, np.roll(sample.part_labels, 1), sample.part_labels),
        probabilities=probabilities,
        title="procedural, test object 4",
    )
