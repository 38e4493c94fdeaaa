"""Every sample once, in its place, with the logits that it has alone."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcclora.data import ProceduralConfig, ProceduralDataset, make_loader, set_epoch
from pcclora.engine.data_record import DataRecord
from pcclora.engine.environment import make_accelerator
from pcclora.engine.evaluator import check_finite
from pcclora.engine.loop import DivergenceError
from pcclora.engine.run_folder import RunFolder, read_rows
from pcclora.engine.settings import Training
from pcclora.runs.adapt import train
from pcclora.tasks.classification import ClassEvaluation, Classification
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import ClassificationRun, ClassificationTraining
from tests.tools.test_tools import TINY

CLASSES = 16


class Net(nn.Module):
    """Each cloud for itself, so that a batch must not matter; dropout, so that the mode does."""

    def __init__(self):
        super().__init__()
        self.first, self.drop, self.second = nn.Linear(3, 32), nn.Dropout(0.5), nn.Linear(32, CLASSES)

    def forward(self, points):
        return self.second(self.drop(self.first(points).relu()).amax(dim=1))


@pytest.fixture(scope="module")
def dataset():
    return ProceduralDataset(ProceduralConfig(train=16, test=19, points=64), split="test")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net()


def evaluator(dataset, *, batch_size, votes=0, **options):
    config = ClassificationRun(points=32, train=ClassificationTraining(batch_size=batch_size), **options)
    accelerator = make_accelerator(Training(device="cpu"))
    return Classification().evaluator(config, dataset, accelerator, votes=votes)


@pytest.mark.parametrize("batch_size", [1, 8, 19])
def test_logits_are_those_of_each_sample_alone(dataset, model, batch_size):
    found = evaluator(dataset, batch_size=batch_size)(model)
    assert model.training and found.logits.shape == (19, CLASSES)
    assert torch.equal(found.labels, torch.from_numpy(dataset.labels))
    model.eval()
    for batch in make_loader(dataset, points=32, batch_size=1, train=False):
        torch.testing.assert_close(found.logits[batch["index"]], model(batch["points"]).detach())


def test_votes_are_the_mean_logits_of_augmented_passes(dataset, model):
    found = evaluator(dataset, batch_size=8, votes=3, augmentation="mn40_st", seed=5)(model)
    loader = make_loader(dataset, points=32, batch_size=19, train=False, seed=5, augmentation="mn40_st", vote=True)
    model.eval()
    passes = []
    for vote in range(3):
        set_epoch(loader, vote)
        (batch,) = loader
        passes.append(model(batch["points"]).detach())
    assert not torch.allclose(passes[0], passes[1])
    torch.testing.assert_close(found.logits, torch.stack(passes).mean(dim=0))


def test_evaluation_draws_nothing_from_the_generator_of_the_training(dataset, model):
    before = torch.get_rng_state()
    evaluator(dataset, batch_size=8, votes=2, augmentation="mn40_st")(model)
    assert torch.equal(before, torch.get_rng_state())


def test_numbers_agree_with_their_definition():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    labels = torch.tensor([0, 0, 1, 2])
    found = ClassEvaluation(logits, labels)
    assert found.predictions.tolist() == [0, 1, 1, 2]
    metrics = found.metrics()
    assert metrics["accuracy"] == pytest.approx(0.75)
    assert metrics["mean_class_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert metrics["loss"] == pytest.approx(F.cross_entropy(logits, labels).item())
    torch.testing.assert_close(found.confidences, torch.softmax(logits, 1).max(1).values)


def test_a_prediction_names_its_sample_and_its_classes_for_eyes_and_numbers_for_readers(tmp_path):
    found = ClassEvaluation(torch.tensor([[3.0, 0.0], [0.0, 1.0], [9.0, 0.0]]), torch.tensor([0, 1, 1]))
    names, classes = ["ball/1.npy", "=cmd|' /C calc'!A0", 'rod/a,"b"\n\x1b[2J.npy'], ["-ball", "1e3"]
    found.write(tmp_path, names=names, classes=classes)
    with RunFolder(tmp_path).predictions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["ball/1.npy", "'=cmd|' /C calc'!A0", 'rod/a,"b"\\n\\x1b[2J.npy']
    assert [row["class"] for row in rows] == ["'-ball", "1e3", "1e3"]
    assert [row["predicted_class"] for row in rows] == ["'-ball", "1e3", "'-ball"]
    numbers = read_rows(RunFolder(tmp_path).predictions)
    assert [(row["index"], row["label"], row["prediction"]) for row in numbers] == [(0, 0, 0), (1, 1, 1), (2, 1, 0)]
    assert numbers[0]["confidence"] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)
    assert numbers[0].keys() == {"index", "label", "prediction", "confidence"}


def test_the_name_of_a_prediction_is_the_file_that_was_predicted(tmp_path):
    for name, make in (("ball", np.ones), ("box", np.zeros)):
        for index in range(6):
            path = tmp_path / "data" / name / f"{name}{index}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, make((80, 3)) + np.random.default_rng(index).random((80, 3)))
    options = ["data=folder", f"data.root={tmp_path / 'data'}", "train.epochs=1", "train.batch_size=4", "points=64"]
    run = train(load_run_config(TINY / "cls.yaml", options), tmp_path / "run")
    record = DataRecord.read(run.path / "data.json").sides["test"]
    with run.predictions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["class"]) for row in rows] == [(held.name, held.label) for held in record]
    assert all((tmp_path / "data" / row["path"]).is_file() for row in rows)


class Poisoned(nn.Module):
    """A classifier whose answers to some clouds are no numbers."""

    def __init__(self, net, bad, value):
        super().__init__()
        self.net, self.bad, self.value, self.asked = net, bad, value, 0

    def forward(self, points):
        logits = self.net(points).clone()
        for row in range(len(logits)):
            if self.asked + row in self.bad:
                logits[row, 2] = self.value
        self.asked += len(logits)
        return logits


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("votes", [0, 2])
def test_an_answer_that_is_no_number_is_no_answer(dataset, model, value, votes):
    bad = {11, 4} if not votes else {24 + 4, 24 + 11}  # 19 clouds are three batches of eight: of the second vote
    with pytest.raises(DivergenceError, match=r"2 of 19 answers .* first to sample 4 \(procedural:0/test/4\)"):
        evaluator(dataset, batch_size=8, votes=votes)(Poisoned(model, bad, value))


def test_a_finite_answer_of_no_finite_loss_is_no_answer():
    source = SimpleNamespace(dataset=[SimpleNamespace(path="a.ply"), SimpleNamespace(path="b.ply")])
    check_finite([torch.tensor([3e38, 3e38]), torch.tensor([0.0, -1e38])], source)
    with pytest.raises(DivergenceError, match=r"1 of 2 answers .* sample 1 \(b.ply\)"):
        check_finite([torch.tensor([0.0, 1.0]), torch.tensor([3e38, -3e38])], source)
