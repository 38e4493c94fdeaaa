"""Every point of every shape once, with the scores it has alone; both mIoUs from the predictions that are written."""

import copy
import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from pcclora.config import load_config
from pcclora.data import Parts, ProceduralConfig, ProceduralDataset, Sample, Subset
from pcclora.engine.environment import make_accelerator
from pcclora.engine.loop import DivergenceError
from pcclora.engine.run_folder import RunFolder, read_rows
from pcclora.errors import PccloraError
from pcclora.runs.build import build_model
from pcclora.tasks import parts as part_segmentation
from pcclora.tasks.base import Labels
from pcclora.tasks.parts import PartEvaluation, PartSegmentation
from pcclora.tasks.settings import PartSegmentationRun

TINY = Path(__file__).parents[1] / "tiny" / "partseg.yaml"
TASK = PartSegmentation()


def run(*overrides):
    return load_config(PartSegmentationRun, file=TINY, overrides=overrides)


class Ragged(Subset):
    """Clouds of different sizes: the first points of each."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        keep = 70 + 11 * (index % 5)
        return Sample(sample.points[:keep], sample.label, sample.part_labels[:keep], sample.path)


@pytest.fixture(scope="module")
def dataset():
    return Ragged(ProceduralDataset(ProceduralConfig(train=16, test=19, points=128), split="test"), range(19))


@pytest.fixture(scope="module")
def model(dataset):
    return build_model(run(), TASK.labels(dataset)).eval()


def evaluate(dataset, model, *overrides, votes=0):
    config = run(*overrides)
    return TASK.evaluator(config, dataset, make_accelerator(config.train), votes=votes)(model)


@torch.no_grad()
def test_scores_are_those_of_the_model_on_each_shape_alone(dataset, model):
    found = evaluate(dataset, model)
    for index, batch in enumerate(PartSegmentation().test_loader(run("train.batch_size=1"), dataset)):
        assert batch["query"].shape[1] == len(dataset[index].points)
        expected = model(batch["points"], batch["labels"], query=batch["query"])[0].log_softmax(dim=1)
        own = dataset.parts.of_class[dataset.labels[index]]
        torch.testing.assert_close(found.scores[index], expected[:, list(own)], atol=1e-5, rtol=1e-5)
        assert torch.equal(found.truth[index], torch.from_numpy(dataset[index].part_labels))
        assert set(found.predictions[index].tolist()) <= set(own)


@pytest.mark.parametrize("changed", ["batch size", "workers", "chunk"])
def test_the_way_of_computing_does_not_matter(dataset, model, monkeypatch, changed):
    found = evaluate(dataset, model)
    if changed == "chunk":
        monkeypatch.setattr(part_segmentation, "CHUNK", 7)
    other = evaluate(
        dataset, model, *{"batch size": ["train.batch_size=5"], "workers": ["train.workers=1"]}.get(changed, [])
    )
    for one, two in zip(found.scores, other.scores, strict=True):
        torch.testing.assert_close(one, two, atol=0 if changed == "workers" else 1e-5, rtol=0)


def test_the_seed_of_a_run_does_not_change_what_is_tested(dataset, model):
    for one, two in zip(evaluate(dataset, model).scores, evaluate(dataset, model, "seed=3").scores, strict=True):
        assert torch.equal(one, two)


def test_a_sample_is_scored_on_the_points_that_the_model_sees(dataset, model):
    found = evaluate(dataset, model, "evaluate_on=sample")
    assert {len(truth) for truth in found.truth} == {64}
    (batch,) = PartSegmentation().test_loader(run("evaluate_on=sample", "train.batch_size=19"), dataset)
    for index, cloud in enumerate(batch["points"].numpy()):
        stored = {tuple(p): part for p, part in zip(dataset[index].points, dataset[index].part_labels, strict=True)}
        assert [stored[tuple(p)] for p in cloud] == found.truth[index].tolist()


def test_votes_average_log_probabilities_over_augmented_passes(dataset, model):
    found = evaluate(dataset, model, "votes=2", votes=2)
    single = evaluate(dataset, model)
    assert not torch.allclose(found.scores[0], single.scores[0])
    assert torch.equal(found.truth[0], single.truth[0])
    with pytest.raises(PccloraError, match="evaluate_on=all"):
        run("votes=2", "evaluate_on=sample")


def test_an_evaluation_leaves_the_generator_and_the_mode_as_they_were(dataset, model):
    before = torch.get_rng_state()
    model.train()
    evaluate(dataset, model, votes=2)
    assert model.training and torch.equal(before, torch.get_rng_state())
    model.eval()


@pytest.fixture
def by_hand():
    """Two shapes of a class with the parts 1 and 2, one of a class with the part 0 alone."""
    labels = Labels(("ring", "mug"), Parts(("band", "cup", "handle"), ((0,), (1, 2))))
    scores = [torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0], [1.0]])]
    scores.append(torch.tensor([[3.0, 1.0], [3.0, 1.0]]))
    truth = [torch.tensor([1, 2, 2, 2]), torch.tensor([0, 0]), torch.tensor([1, 1])]
    return PartEvaluation(scores, truth, [1, 0, 1], labels)


def test_figures_agree_with_their_definition(by_hand):
    assert [p.tolist() for p in by_hand.predictions] == [[1, 1, 2, 2], [0, 0], [1, 1]]
    first = (1 / 2 + 2 / 3) / 2
    metrics = by_hand.metrics()
    assert metrics["instance_miou"] == pytest.approx((first + 1 + 1) / 3)
    assert metrics["class_miou"] == pytest.approx(((first + 1) / 2 + 1) / 2)
    assert metrics["accuracy"] == pytest.approx(7 / 8)
    chosen = [2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0]
    assert metrics["loss"] == pytest.approx(-np.mean(chosen))
    details = by_hand.details()
    assert details["categories"] == {
        "ring": {"iou": 1.0, "shapes": 1},
        "mug": {"iou": pytest.approx((first + 1) / 2), "shapes": 2},
    }


def test_the_parts_of_a_class_make_up_its_miou(by_hand):
    details = by_hand.details()
    # of the two mugs one has a handle; where it is neither there nor predicted it counts whole
    assert details["category_parts"]["mug"] == {
        "cup": {"iou": pytest.approx((1 / 2 + 1) / 2), "shapes": 2},
        "handle": {"iou": pytest.approx((2 / 3 + 1) / 2), "shapes": 1},
    }
    for name, parts in details["category_parts"].items():
        assert np.mean([own["iou"] for own in parts.values()]) == pytest.approx(details["categories"][name]["iou"])


def test_a_constant_answer_is_the_most_frequent_part_of_each_class(by_hand):
    # of the class mug three points are cup and three handle: the lower label counts
    mugs = ((1 / 4 + 0) / 2 + 1) / 2
    constant = by_hand.details()["constant"]
    assert constant["instance_miou"] == pytest.approx(((1 / 4 + 0) / 2 + 1 + 1) / 3)
    assert constant["class_miou"] == pytest.approx((mugs + 1) / 2)
    assert constant["accuracy"] == pytest.approx((1 + 2 + 2) / 8)


def test_what_is_written_is_what_was_answered(by_hand, tmp_path):
    by_hand.write(tmp_path, names=["m/1.txt", "r/=1.txt", "@2"], classes=by_hand.names.class_names)
    folder = RunFolder(tmp_path)
    with folder.predictions.open(encoding="utf-8", newline="") as file:
        named = [(row["path"], row["class"]) for row in csv.DictReader(file)]
    assert named == [("m/1.txt", "mug"), ("r/=1.txt", "ring"), ("'@2", "mug")]
    rows = read_rows(folder.predictions)
    assert [row["label"] for row in rows] == [1, 0, 1] and [row["points"] for row in rows] == [4, 2, 2]
    assert [row["parts"] for row in rows] == [2, 1, 1]
    assert [row["miou"] for row in rows] == pytest.approx(by_hand.shape_mious, abs=1e-6)
    held = load_file(folder.predicted_parts)
    assert torch.equal(held["parts"].long(), torch.cat(by_hand.predictions))
    expected = torch.cat([p.flatten() for p in by_hand.probabilities])
    torch.testing.assert_close(held["probabilities"].float(), expected, atol=1e-3, rtol=0)


def test_training_minimises_the_likelihood_of_all_parts(dataset, model):
    config = run()
    batch = next(iter(TASK.loader(config, dataset)))
    means = TASK.loss(config, dataset)(model, batch)
    logits = model(batch["points"], batch["labels"])
    expected = F.nll_loss(logits.log_softmax(dim=2).flatten(0, 1), batch["part_labels"].flatten())
    assert means["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    right = []
    for row, label, truth in zip(logits, batch["labels"], batch["part_labels"], strict=True):
        own = list(dataset.parts.of_class[label])
        right += [own[i] == t for i, t in zip(row[:, own].argmax(dim=1).tolist(), truth.tolist(), strict=True)]
    assert means["accuracy"].item() == pytest.approx(np.mean(right))


@pytest.mark.parametrize("votes", [0, 2])
def test_scores_that_are_no_numbers_are_refused(dataset, model, votes):
    poisoned = copy.deepcopy(model)
    with torch.no_grad():
        poisoned.convs3.bias[7] = float("nan")  # one part of one class is enough: all scores are normalised together
    with pytest.raises(DivergenceError, match=r"19 of 19 answers .* first to sample 0 \(procedural:0/test/0\)"):
        evaluate(dataset, poisoned, votes=votes)
