"""Classes of different sizes: what weighs them alike, and what is said where nothing does."""

import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from pcclora.data import PointCloudDataset, Sample
from pcclora.runs.adapt import train
from pcclora.runs.report import protocol_of
from pcclora.tasks.classification import Classification, class_weights
from pcclora.tasks.settings import ClassificationRun, ClassificationTraining
from tests.runs.test_adapt import cls

LABELS = np.repeat([0, 1, 3], [12, 6, 2])


class Skewed(PointCloudDataset):
    """Objects of four classes, of which one has none."""

    name, split, class_names, labels = "skewed", "train", ("a", "b", "none", "d"), LABELS

    def __getitem__(self, index):
        return Sample(np.zeros((4, 3), np.float32), int(self.labels[index]), None, "")


def test_the_weights_are_those_of_scikit_learn():
    weights = class_weights(Skewed())
    expected = compute_class_weight("balanced", classes=np.unique(LABELS), y=LABELS)
    np.testing.assert_allclose(weights[[0, 1, 3]], expected, rtol=1e-6)
    assert weights[2] == 0 and weights[LABELS].mean() == pytest.approx(1)


def test_the_weighted_loss_of_batches_is_that_of_the_whole():
    """torch's own mean of two batches is not the mean over both; ours is, so that processes may share a batch."""
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 4), torch.from_numpy(LABELS)[torch.randperm(20)]
    training = ClassificationTraining(class_weights="balanced", label_smoothing=0)
    loss = Classification().loss(ClassificationRun(train=training), Skewed())
    model = lambda points: points  # noqa: E731
    halves = [loss(model, {"points": logits[own], "labels": labels[own]}) for own in (slice(10), slice(10, 20))]
    each = F.cross_entropy(logits, labels, reduction="none") * class_weights(Skewed())[labels]
    assert sum(h["loss"] for h in halves) / 2 == pytest.approx(each.mean())
    whole = F.cross_entropy(logits, labels, class_weights(Skewed()))  # divides by the weights, of mean 1 over all
    assert each.mean() == pytest.approx(whole.item())


def scans(root, counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            cloud = np.random.default_rng([number, *name.encode()]).normal(size=(64, 3))
            np.save(root / name / f"{number}.npy", cloud * [1, 1, 1 + (name == "cup")])
    return f"data={{name: folder, root: {root}}}"


@pytest.mark.parametrize(
    ("counts", "overrides", "said"),
    [
        ({"cup": 40, "mug": 5}, [], True),
        ({"cup": 40, "mug": 5}, ["train.sampler=balanced"], False),
        ({"cup": 40, "mug": 5}, ["train.class_weights=balanced"], False),
        ({"cup": 10, "mug": 5}, [], False),
    ],
)
def test_a_skewed_folder_gets_one_hint(tmp_path, caplog, counts, overrides, said):
    with caplog.at_level(logging.WARNING, "pcclora"):
        folder = train(cls("train.epochs=1", scans(tmp_path / "scans", counts), *overrides), tmp_path / "run")
    hints = [message for message in caplog.messages if "weighs them alike" in message]
    assert hints == said * [
        "folder: there are 32 of 'cup' to train on, 4 of 'mug'; train.sampler=balanced or train.class_weights=balanced "
        "weighs them alike"
    ]
    words = {"train.sampler=balanced": "balanced sampler", "train.class_weights=balanced": "balanced class weights"}
    assert [word in protocol_of(folder.read_summary()) for word in words.values()] == [o in overrides for o in words]


def test_weights_are_of_the_training_part_alone(tmp_path, monkeypatch):
    """Of 32 and 4 to train on, a fourth is held out."""
    seen = []
    monkeypatch.setattr("pcclora.tasks.classification.class_weights", lambda d: seen.append(d) or class_weights(d))
    skewed = scans(tmp_path / "scans", {"cup": 40, "mug": 5})
    chosen = ["selection=validation", "validation_fraction=0.25", "train.class_weights=balanced", "train.epochs=1"]
    train(cls(skewed, *chosen), tmp_path / "run")
    assert [np.bincount(dataset.labels).tolist() for dataset in seen] == [[24, 3]]
