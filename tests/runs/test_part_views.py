"""Test shapes as the run saw them: the points that were scored, their true parts, the parts that were written."""

import shutil

import numpy as np
import pytest
from safetensors.torch import load_file

from pcclora.data import ProceduralConfig, ProceduralDataset
from pcclora.engine.run_folder import RunFolder, read_rows
from pcclora.errors import PccloraError
from pcclora.metrics import part_ious
from pcclora.runs.adapt import train
from pcclora.runs.part_views import segmented_test_shapes
from pcclora.runs.reload import TrainedRun
from pcclora.tasks.registry import load_run_config
from pcclora.tensor_file import write_tensors
from tests.tools.test_tools import TINY


@pytest.fixture(scope="module", params=["all", "sample"])
def run(request, tmp_path_factory):
    config = load_run_config(TINY / "partseg.yaml", [f"evaluate_on={request.param}", "train.epochs=1"])
    return train(config, tmp_path_factory.mktemp("runs") / "run")


def test_shapes_have_the_scores_that_were_written(run):
    rows = read_rows(run.predictions)
    shapes = segmented_test_shapes(TrainedRun(run))
    assert len(shapes) == len(rows) == 19
    for shape, row in zip(shapes, rows, strict=True):
        assert len(shape.points) == row["points"] and len(np.unique(shape.truth)) == row["parts"]
        assert part_ious(shape.truth, shape.prediction, shape.parts).mean() == pytest.approx(row["miou"], abs=1e-6)
        assert (~shape.errors).mean() == pytest.approx(row["accuracy"], abs=1e-6)
        np.testing.assert_allclose(shape.probabilities.sum(axis=1), 1, atol=2e-3)


def test_points_are_those_of_the_data_set(run):
    dataset = ProceduralDataset(ProceduralConfig(train=48, test=19, points=128), split="test")
    (shape,) = segmented_test_shapes(TrainedRun(run), [7])
    stored = {tuple(p): part for p, part in zip(dataset[7].points, dataset[7].part_labels, strict=True)}
    assert shape.category == dataset.class_names[dataset[7].label]
    assert [stored[tuple(p)] for p in shape.points] == shape.truth.tolist()


@pytest.mark.parametrize("index", [-1, 19])
def test_a_shape_that_is_not_there_is_named(run, index):
    with pytest.raises(PccloraError, match=f"test shape {index}; there are 0 to 18"):
        segmented_test_shapes(TrainedRun(run), [index])


@pytest.mark.parametrize("end", [None, 0, 10, -10])
def test_parts_that_are_absent_or_cut_are_named_with_the_remedy(run, tmp_path, end):
    folder = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    content = folder.predicted_parts.read_bytes()
    folder.predicted_parts.unlink()
    if end is not None:
        folder.predicted_parts.write_bytes(content[:end])
    with pytest.raises(PccloraError, match=r"predicted_parts\.safetensors: .*delete summary\.json there, and --resume"):
        segmented_test_shapes(TrainedRun(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held.clear(),
        lambda held: held.update(more=held["parts"]),
        lambda held: held.update(parts=held["parts"][:-1]),
        lambda held: held.update(parts=held["parts"].float()),
        lambda held: held.update(parts=held["parts"] * 0 + 1000),
        lambda held: held.update(probabilities=held["probabilities"][1:]),
        lambda held: held.update(probabilities=held["probabilities"][None]),
        lambda held: held.update(lengths=held["lengths"][1:]),
        lambda held: held.update(lengths=-held["lengths"]),
    ],
)
def test_parts_of_another_run_are_named_with_the_remedy(run, tmp_path, change):
    folder = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    held = load_file(folder.predicted_parts)
    change(held)
    write_tensors(folder.predicted_parts, held)
    with pytest.raises(PccloraError, match=r"predicted_parts\.safetensors: .*delete summary\.json there, and --resume"):
        segmented_test_shapes(TrainedRun(folder))


def test_what_the_end_of_a_run_writes_is_made_again_by_the_remedy_that_is_named(run, tmp_path):
    folder = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    for path in (folder.summary, folder.predicted_parts, folder.predictions):
        path.unlink()
    train(load_run_config(folder.config), folder.path, resume=True)
    assert folder.predictions.read_bytes() == run.predictions.read_bytes()
    assert folder.predicted_parts.read_bytes() == run.predicted_parts.read_bytes()
    assert folder.read_summary()["metrics"] == run.read_summary()["metrics"]


def test_a_classification_run_has_no_parts(tmp_path):
    folder = train(load_run_config(TINY / "cls.yaml", ["train.epochs=1"]), tmp_path / "run")
    with pytest.raises(PccloraError, match="a part-segmentation run is needed"):
        segmented_test_shapes(TrainedRun(folder))
