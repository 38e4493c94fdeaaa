import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcclora.data import (
    FolderConfig,
    ModelNetConfig,
    PartSegH5Config,
    PointCloudDataset,
    ProceduralConfig,
    ProceduralDataset,
    Sample,
    Subset,
    episodes_digest,
    make_episode,
    make_loader,
    stratified_split,
)
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

# Of ten folds of the field's four settings on the labels of pair(): the same wherever this runs.
DIGEST = "313f8866d86261a20dfb22fca2b14e0f553fc5cdba584d3197058baa6bb2d182"


class Labelled(PointCloudDataset):
    """Objects that are nothing but a label and a number, the first coordinate of their only point."""

    def __init__(self, labels, *, classes, split="train", name="labelled"):
        self.name, self.split, self.labels = name, split, np.asarray(labels, dtype=np.int64)
        self.class_names = tuple(f"class {label}" for label in range(classes))

    def __getitem__(self, index):
        points = np.full((1, 3), index, np.float32)
        return Sample(points, int(self.labels[index]), None, f"{self.split}/{index}")


def pair(classes=12, train=30, test=25):
    return (
        Labelled(np.arange(classes * train) % classes, classes=classes),
        Labelled(np.arange(classes * test) * 7 % classes, classes=classes, split="test"),
    )


COUNTS = st.lists(st.integers(0, 9), min_size=2, max_size=8)


@given(COUNTS, st.data(), st.integers(2, 5), st.integers(1, 5), st.integers(1, 5), *[st.integers(0, 2**32)] * 2)
def test_an_episode_keeps_every_promise(train_counts, data, way, shot, query, seed, fold):
    classes = len(train_counts)
    test_counts = data.draw(st.lists(st.integers(0, 9), min_size=classes, max_size=classes) | st.none())
    order = np.random.default_rng(seed % 1000)
    train = Labelled(order.permutation(np.repeat(range(classes), train_counts)), classes=classes)
    test = None
    if test_counts is not None:
        test = Labelled(order.permutation(np.repeat(range(classes), test_counts)), classes=classes, split="test")
    enough = {
        label
        for label in range(classes)
        if train_counts[label] >= shot + (query if test is None else 0)
        and (test_counts is None or test_counts[label] >= query)
    }
    if len(enough) < way:
        with pytest.raises(PccloraError, match="ways are asked for"):
            make_episode(train, test, way=way, shot=shot, query=query, seed=seed, fold=fold)
        return
    episode = make_episode(train, test, way=way, shot=shot, query=query, seed=seed, fold=fold)
    assert set(episode.classes) <= enough and len(set(episode.classes)) == way
    assert episode.support.labels.tolist() == np.repeat(range(way), shot).tolist()
    assert episode.query.labels.tolist() == np.repeat(range(way), query).tolist()
    assert episode.class_names == tuple(f"class {label}" for label in episode.classes) == episode.query.class_names
    for view, indices, whole in (
        (episode.support, episode.support_indices, train),
        (episode.query, episode.query_indices, train if test is None else test),
    ):
        assert len(set(indices)) == len(indices) == len(view)
        for place, index in enumerate(indices):
            sample = view[place]
            assert sample.points[0, 0] == index and sample.path == f"{whole.split}/{index}"
            assert episode.classes[sample.label] == whole.labels[index] and sample.label == view.labels[place]
    if test is None:
        assert not set(episode.support_indices) & set(episode.query_indices)
    assert json.loads(json.dumps(episode.record()))["classes"] == list(episode.classes)


@given(st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_larger_settings_of_one_fold_contain_the_smaller(seed, fold, with_test):
    train, test = pair(train=60)
    small, large = (
        make_episode(train, test if with_test else None, way=way, shot=shot, query=query, seed=seed, fold=fold)
        for way, shot, query in ((5, 10, 8), (10, 20, 20))
    )
    assert small.classes == large.classes[:5]
    assert set(small.support_indices) <= set(large.support_indices)
    assert set(small.query_indices) <= set(large.query_indices)


def test_folds_and_seeds_differ_and_nothing_else_does():
    train, test = pair()
    episodes = [make_episode(train, test, seed=seed, fold=fold) for seed in range(3) for fold in range(10)]
    assert len({episode.support_indices for episode in episodes}) == 30
    again = [make_episode(train, test, seed=seed, fold=fold) for seed in range(3) for fold in range(10)]
    assert episodes_digest(again) == episodes_digest(episodes) != episodes_digest(episodes[:-1])


def test_every_class_and_object_has_the_same_chance():
    train, test = pair(classes=6, train=12, test=6)
    classes, objects = np.zeros(6), np.zeros(len(train))
    for fold in range(600):
        episode = make_episode(train, test, way=3, shot=4, query=3, fold=fold)
        classes[list(episode.classes)] += 1
        objects[list(episode.support_indices)] += 1
    np.testing.assert_allclose(classes / 600, 3 / 6, atol=0.07)  # 3.4 standard deviations
    np.testing.assert_allclose(objects / 600, 3 / 6 * 4 / 12, atol=0.07)


def test_episodes_are_the_same_on_every_platform():
    train, test = pair()
    settings = [(way, shot, fold) for way in (5, 10) for shot in (10, 20) for fold in range(10)]
    episodes = [make_episode(train, test, way=way, shot=shot, fold=fold) for way, shot, fold in settings]
    assert episodes_digest(episodes) == DIGEST


def test_views_are_loaded_as_they_are():
    train, test = (
        ProceduralDataset(ProceduralConfig(train=160, test=160, points=64), split=s) for s in ("train", "test")
    )
    episode = make_episode(train, test, way=5, shot=4, query=6)
    assert (episode.support.split, episode.query.split, episode.source) == ("support", "query", "procedural")
    batch = next(iter(make_loader(episode.query, points=32, batch_size=30, train=False, part_labels=True)))
    np.testing.assert_array_equal(batch["labels"], episode.query.labels)
    np.testing.assert_array_equal(episode.query[7].points, test[episode.query_indices[7]].points)
    for index in range(len(episode.support)):
        sample = episode.support[index]
        episode.support.parts.check(sample.part_labels, sample.label, sample.path)
    seen = [
        label for batch in make_loader(episode.support, points=8, batch_size=7, train=True) for label in batch["labels"]
    ]
    assert np.bincount(seen).tolist() == [4] * 5


def test_a_data_set_of_one_split_and_a_validation_part_do_not_leak():
    train, _ = pair(train=40)
    kept, held = stratified_split(train.labels, 0.5, 0)
    episode = make_episode(Subset(train, kept), Subset(train, held), way=3, shot=5, query=5)
    assert not {kept[i] for i in episode.support_indices} & {held[i] for i in episode.query_indices}
    twice = Subset(Subset(train, range(100)), range(50, 100))
    for first, second in ((train, train), (train, twice), (twice, train), (*[pair()[0] for _ in range(2)],)):
        with pytest.raises(PccloraError, match=r"objects of 'train' are in 'train' as well; pass another test"):
            make_episode(first, second)


def test_what_cannot_be_drawn_is_one_error():
    train, test = pair(classes=4)
    for settings, message in (
        ({"way": 5}, "5 ways are asked for, the data set has 4 classes"),
        (
            {"way": 3, "shot": 31},
            r"0 of 4 classes have 31 objects in 'train' and 20 in 'test' \(the next, 'class 0', has 30",
        ),
        ({"way": 3, "query": 26}, "lower way, shot or query"),
        ({"way": 1}, "way is 1; at least 2"),
        ({"shot": 0}, "shot is 0; at least 1"),
        ({"query": 0}, "query is 0; at least 1"),
        ({"seed": -1}, "seed is -1; at least 0"),
        ({"fold": -1}, "fold is -1; at least 0"),
    ):
        with pytest.raises(PccloraError, match=message):
            make_episode(train, test, **settings)
    with pytest.raises(PccloraError, match=r"have 20 \+ 20 objects \(the next, 'class 0', has 30\)"):
        make_episode(train, None, way=3, shot=20)
    lopsided = Labelled([0] * 40 + [1] * 40 + [2] * 13 + [3] * 14, classes=4, split="test")
    with pytest.raises(PccloraError, match=r"2 of 4 classes .* \(the next, 'class 3', has 30 and 14\)"):
        make_episode(train, lopsided, way=3)
    with pytest.raises(PccloraError, match="'train' and 'test' have different classes"):
        make_episode(train, pair(classes=5)[1], way=3)


@pytest.mark.parametrize(("way", "shot"), [(5, 10), (10, 20)])
def test_real_modelnet10(way, shot, shared_data):
    config = ModelNetConfig(root=str(shared_data / "modelnet10_ply_hdf5_1024"), classes=10)
    train, test = (DATASETS.build(config, split=split) for split in ("train", "test"))
    episode = make_episode(train, test, way=way, shot=shot)
    assert (len(episode.support), len(episode.query)) == (way * shot, way * 20)
    learnt = {episode.support[i].points.tobytes() for i in range(len(episode.support))}
    assert not learnt & {episode.query[i].points.tobytes() for i in range(len(episode.query))}


def test_real_relics_leave_out_their_small_classes(shared_data):
    config = PartSegH5Config(root=str(shared_data / "relics_partseg_hdf5"))
    train, test = (DATASETS.build(config, split=split) for split in ("train", "test"))
    episode = make_episode(train, test, way=5, shot=10, query=5)
    assert min(np.bincount(train.labels)[list(episode.classes)]) >= 10
    assert min(np.bincount(test.labels)[list(episode.classes)]) >= 5
    with pytest.raises(PccloraError, match=r"of 23 classes have 10 objects in 'train' and 20 in 'test'"):
        make_episode(train, test, way=10, shot=10)


def test_a_users_folder(tmp_path):
    for label in "abc":
        (tmp_path / label).mkdir()
        for number in range(10):
            np.save(tmp_path / label / f"{number}.npy", np.random.default_rng(number).normal(size=(8, 3)))
    config = FolderConfig(root=str(tmp_path), test_fraction=0.5)
    episode = make_episode(*(DATASETS.build(config, split=s) for s in ("train", "test")), way=3, shot=5, query=5)
    paths = [view[i].path for view in (episode.support, episode.query) for i in range(len(view))]
    assert len(set(paths)) == 30 and sorted(episode.class_names) == ["a", "b", "c"]
