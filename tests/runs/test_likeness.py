"""Objects that are unlike those that a run was trained on: a distance, told as a share, said where it is large."""

import json
import logging

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.runs.likeness import FILE, UNLIKE, Likeness, say_unlike, shares_nearer
from pcclora.runs.reload import TrainedRun
from pcclora.runs.splits import open_side
from pcclora.tensor_file import read_tensors, write_tensors
from tests.tools.test_tools import call

RNG = np.random.default_rng(0)
KNOWN = RNG.normal(size=(300, 5)).astype(np.float16).astype(np.float32)


@pytest.fixture
def run(folders):
    return TrainedRun.open(folders["cls"])


def test_the_share_is_that_of_a_search_for_neighbours():
    others = 2 * RNG.normal(size=(40, 5))
    own = NearestNeighbors(n_neighbors=2).fit(KNOWN).kneighbors(KNOWN)[0][:, 1]
    apart = NearestNeighbors(n_neighbors=1).fit(KNOWN).kneighbors(others)[0][:, 0]
    found = Likeness.of(torch.from_numpy(KNOWN)).share_nearer(torch.from_numpy(others).float())
    np.testing.assert_allclose(found, [(own < distance).mean() for distance in apart], atol=0.005)


def test_objects_of_the_same_kind_are_called_unlike_as_often_as_is_said():
    held = Likeness.of(torch.from_numpy(RNG.normal(size=(1500, 5))).float())
    same = held.share_nearer(torch.from_numpy(RNG.normal(size=(1500, 5))).float())
    other = held.share_nearer(torch.from_numpy(RNG.normal(size=(200, 5)) + 4).float())
    assert 0.03 < (same >= UNLIKE).mean() < 0.07 and (other >= UNLIKE).mean() > 0.9


def test_a_run_keeps_the_features_that_its_head_reads(run):
    held = Likeness.read(run.folder.path / FILE)
    train = open_side(run.config, run.folder.path, "train")
    with torch.no_grad():
        features = run.model.features(torch.from_numpy(train[7].points[None, :64]))
    assert held.known.shape == (48, features.shape[1])
    found = run.predict([train[n].points.astype(np.float64) for n in range(5)])
    assert all(one.unlike < 0.05 for one in found), "it is there itself"


def test_one_prediction_and_many_have_the_same_score(run):
    clouds = [RNG.normal(size=(200, 3)) * scale for scale in ([1, 1, 1], [1, 9, 1], [5, 1, 1])]
    together = run.predict(clouds, batch_size=2)
    assert [one.unlike for one in together] == pytest.approx([run.predict(cloud).unlike for cloud in clouds], abs=1e-3)


def test_predict_says_so(run, tmp_path, capsys):
    line = np.column_stack([np.linspace(0, 1, 300), np.zeros((300, 2))])
    np.save(tmp_path / "line.npy", line)
    held = Likeness.read(run.folder.path / FILE)
    assert call("predict", tmp_path / "line.npy", "--run", run.path, "--json") == 0
    captured = capsys.readouterr()
    (found,) = json.loads(captured.out).values()
    assert set(found) == {"classes", "unlike"} and 0 <= found["unlike"] <= 1
    assert ("line.npy: unlike the training data" in captured.err) == (found["unlike"] >= UNLIKE)
    assert held.distances[-1] > 0


def test_what_is_said_counts_files(caplog):
    with caplog.at_level(logging.WARNING, logger=logger.name):
        say_unlike(["a.ply"], [0.99])
        say_unlike(["a.ply", "b.ply", "c.ply"], [0.2, 0.97, 1.0])
        say_unlike(["a.ply", "b.ply"], [None, 0.9])
    assert [record.getMessage().split(": unlike")[0] for record in caplog.records] == [
        "a.ply",
        "2 of 3 files (as b.ply)",
    ]


def test_without_the_file_nothing_is_known(run, folders, tmp_path):
    assert shares_nearer(tmp_path, [torch.zeros(2, 5)], 2) == [None, None]
    assert not (folders["partseg"] / FILE).exists()


def test_a_damaged_file_is_named(tmp_path):
    Likeness.of(torch.from_numpy(KNOWN)).write(tmp_path / FILE)
    with pytest.raises(PccloraError, match="is of 5 features, the model has 4"):
        shares_nearer(tmp_path, [torch.zeros(1, 4)], 1)
    held, _ = read_tensors(tmp_path / FILE, remedy="")
    write_tensors(tmp_path / FILE, {**held, "known": torch.full((3, 5), torch.nan)})
    with pytest.raises(PccloraError, match="not finite: without it nothing is said"):
        Likeness.read(tmp_path / FILE)
    write_tensors(tmp_path / FILE, {"known": held["known"]})
    with pytest.raises(PccloraError, match="does not hold features and 1001 distances"):
        Likeness.read(tmp_path / FILE)
