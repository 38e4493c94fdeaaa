"""Which test images the gallery of an image run shows."""

import pytest

from pcclora.atomic import write_json
from pcclora.engine.run_folder import RunFolder, write_rows
from pcclora.vis.image_gallery import surest
from tests.runs.summaries import summary


@pytest.fixture
def folder(tmp_path):
    rows = [(0, 1, 1, 0.5), (1, 0, 1, 0.9), (2, 2, 2, 0.99), (3, 2, 2, 0.7), (4, 1, 0, 0.95)]
    write_rows(tmp_path / "predictions.csv", ["index", "label", "prediction", "confidence"], rows)
    write_json(tmp_path / "summary.json", summary(samples={"train": 12, "test": 5}))
    return RunFolder(tmp_path)


def test_the_surest_come_first_right_and_wrong_apart(folder):
    assert surest(folder, right=True) == [2, 3, 0]
    assert surest(folder, right=False) == [4, 1]
    assert surest(folder, right=True, count=1) == [2]
