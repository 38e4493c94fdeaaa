"""Test shapes as the run saw them: the points that were scored, their true parts, the parts that were written."""

import numpy as np
import pytest

from pcclora.data import ProceduralConfig, ProceduralDataset
from pcclora.engine.part_views import segmented_test_shapes
from pcclora.engine.run_folder import read_rows
from pcclora.engine.tasks import load_run_config
from pcclora.engine.training import train
from pcclora.errors import PccloraError
from pcclora.metrics import part_ious
from tests.tools.test_tools import TINY


@pytest.fixture(scope="module", params=["all", "sample"])
def run(request, tmp_path_factory):
    config = load_run_config(TINY / "partseg.yaml", [f"evaluate_on={request.param}", "train.epochs=1"])
    return train(config, tmp_path_factory.mktemp("runs") / "run")


def test_shapes_have_the_scores_that_were_written(run):
    rows = read_rows(run.predictions)
    shapes = segmented_test_shapes(run)
    assert len(shapes) == len(rows) == 19
    for shape, row in zip(shapes, rows, strict=True):
        assert len(shape.points) == row["points"] and len(np.unique(shape.truth)) == row["parts"]
        assert part_ious(shape.truth, shape.prediction, shape.parts).mean() == pytest.approx(row["miou"], abs=1e-6)
        assert (~shape.errors).mean() == pytest.approx(row["accuracy"], abs=1e-6)
        np.testing.assert_allclose(shape.probabilities.sum(axis=1), 1, atol=2e-3)


def test_points_are_those_of_the_data_set(run):
    dataset = ProceduralDataset(ProceduralConfig(train=48, test=19, points=128), split="test")
    (shape,) = segmented_test_shapes(run, [7])
    stored = {tuple(p): part for p, part in zip(dataset[7].points, dataset[7].part_labels, strict=True)}
    assert shape.category == dataset.class_names[dataset[7].label]
    assert [stored[tuple(p)] for p in shape.points] == shape.truth.tolist()


@pytest.mark.parametrize("index", [-1, 19])
def test_a_shape_that_is_not_there_is_named(run, index):
    with pytest.raises(PccloraError, match=f"test shape {index}; there are 0 to 18"):
        segmented_test_shapes(run, [index])


def test_a_classification_run_has_no_parts(tmp_path):
    folder = train(load_run_config(TINY / "cls.yaml", ["train.epochs=1"]), tmp_path / "run")
    with pytest.raises(PccloraError, match="a part-segmentation run is needed"):
        segmented_test_shapes(folder)
