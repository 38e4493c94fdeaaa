"""The official few-shot files, as Point-BERT's generator makes them, and the writer's, read by a plain unpickler."""

import json
import pickle
import pickletools
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcclora.data import (
    ProceduralConfig,
    ProceduralDataset,
    find_folds,
    make_episode,
    make_loader,
    normalize_unit_sphere,
    read_episode,
    write_episodes,
)
from pcclora.data.sets.modelnet import MODELNET40
from pcclora.errors import PccloraError

WAY, SHOT, QUERY = 3, 2, 4
CLASSES = (37, 0, 8)


def official(seed=0, points=24, **changed):
    """Return a fold's content: as the generator leaves it, with labels of numpy's and objects in no order."""
    rng = np.random.default_rng(seed)
    content = {
        side: [
            (rng.normal(size=(points, 6)).astype(np.float32) + 2, label, np.int32(CLASSES[label]))
            for label in rng.permutation(np.repeat(range(WAY), count)).tolist()
        ]
        for side, count in (("train", SHOT), ("test", QUERY))
    }
    return content | changed


def save(root, content, *, fold=0, spelling="3way_2shot"):
    path = root / spelling / f"{fold}.pkl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return path


def read(root, fold=0, **options):
    return read_episode(root, **{"way": WAY, "shot": SHOT, "fold": fold, **options})


@pytest.mark.parametrize("spelling", ["3way_2shot", "3way2shot"])
def test_official_files_are_read(spelling, tmp_path):
    content = official()
    path = save(tmp_path, content, spelling=spelling)
    episode = read(tmp_path)
    assert (episode.way, episode.shot, episode.queries, episode.fold, episode.seed) == (WAY, SHOT, QUERY, 0, None)
    assert episode.classes == CLASSES and episode.class_names == ("vase", "airplane", "chair")
    for view, side in ((episode.support, "train"), (episode.query, "test")):
        assert view.labels.tolist() == [label for _, label, _ in content[side]]
        for index, (points, label, _) in enumerate(content[side]):
            sample = view[index]
            np.testing.assert_array_equal(sample.points, normalize_unit_sphere(points)[:, :3])
            assert sample.label == label and sample.path == f"{path}[{side}][{index}]"
    np.testing.assert_array_equal(read(tmp_path, normalize=False).query[1].points, content["test"][1][0][:, :3])
    batch = next(iter(make_loader(episode.support, points=16, batch_size=6, train=True)))
    assert sorted(batch["labels"].tolist()) == [0, 0, 1, 1, 2, 2]


def test_the_source_of_a_record_is_the_files_content(tmp_path):
    for fold, seed in ((0, 0), (1, 1)):
        save(tmp_path, official(seed), fold=fold)
    sources = {read(tmp_path, fold).source for fold in (0, 1)}
    assert len(sources) == 2 and all(source.startswith(f"{tmp_path.name} sha256:") for source in sources)
    assert json.dumps(read(tmp_path).record())


def test_both_spellings_may_be_there_if_they_hold_the_same(tmp_path):
    save(tmp_path, official())
    shutil.copytree(tmp_path / "3way_2shot", tmp_path / "3way2shot")
    assert find_folds(tmp_path, way=WAY, shot=SHOT) == [0] and len(read(tmp_path).support) == WAY * SHOT
    other = save(tmp_path, official(1), spelling="3way2shot")
    with pytest.raises(PccloraError, match="3way_2shot and 3way2shot hold different folds; remove or rename one"):
        read(tmp_path)
    shutil.copy(tmp_path / "3way_2shot" / "0.pkl", other)
    save(tmp_path, official(1), fold=1, spelling="3way2shot")
    with pytest.raises(PccloraError, match="hold different folds"):
        find_folds(tmp_path, way=WAY, shot=SHOT)


def test_absent_folders_and_folds(tmp_path):
    with pytest.raises(PccloraError, match=r"does not exist; see .*datasets/modelnet40_fewshot/README\.md"):
        read(tmp_path / "no")
    with pytest.raises(PccloraError, match="has neither 3way_2shot nor 3way2shot; see .*datasets"):
        read(tmp_path)
    save(tmp_path, official(), fold=3)
    save(tmp_path, official(), fold=10)
    (tmp_path / "3way_2shot" / "notes.pkl").touch()
    with pytest.raises(PccloraError, match=r"3way_2shot/0\.pkl: no such fold, there are 3, 10; see"):
        read(tmp_path)


class _Bomb:
    def __reduce__(self):
        import os

        return os.system, ("touch exploded",)


def item(label=0, source=37, points=None):
    return (np.ones((8, 6), np.float32) if points is None else points, label, source)


DAMAGE = {
    "empty": (b"", "the file is empty"),
    "html": (b"<!DOCTYPE html>", "web page"),
    "truncated": (pickle.dumps(official())[:-300], "damaged"),
    "bomb": (pickle.dumps(official(train=[_Bomb()])), r"wants to run posix\.system"),
    "a list": (pickle.dumps([1, 2]), "expected a dict of the lists"),
    "no test": (pickle.dumps({"train": []}), "expected a dict of the lists"),
    "pairs": (official(train=[item()[:2]]), r"\[train\]\[0\]: expected \(points, label, class\)"),
    "a number": (official(test=[3]), r"\[test\]\[0\]: expected \(points, label, class\)"),
    "text label": (official(train=[item("a")]), "must be whole numbers, found a"),
    "half label": (official(train=[item(0.5)]), r"must be whole numbers, found 0\.5"),
    "endless label": (official(train=[item(1 << 40_000)]), "must be whole numbers, found object"),
    "label range": (official(train=[item(3)]), r"label 3 of class 37 is not in 0\.\.2"),
    "negative label": (official(train=[item(-1)]), r"label -1 of class 37 is not in 0\.\.2"),
    "nan": (official(train=[item(points=np.full((8, 6), np.nan))]), "8 points are NaN"),
    "ragged": (official(train=[item(points=[[1, 2, 3], [4]])]), r"expected \(points, label, class\)"),
    "flat": (official(train=[item(points=np.ones(6))]), r"points must be \(N, 3 or more\)"),
    "shots": (official(train=official()["train"][1:]), "2 support objects and equally many queries of each of 3"),
    "queries": (official(test=official()["test"][1:]), "another setting's file"),
    "nothing": (official(test=[]), "equally many queries"),
    "two classes": (official(train=[item(i // 2, 5 + i) for i in range(6)]), "each label must stand for one class"),
    "one class": (
        {
            side: [item(i, 5, np.full((8, 6), i + 3.0 * k)) for i in (0, 1, 2) for _ in "ab"]
            for k, side in enumerate(("train", "test"))
        },
        "each label must stand for one class",
    ),
    "leak": (official(test=[*official()["train"]]), "6 objects are both learnt from and asked about"),
    "class range": (
        {side: [(points, label, cls + 3) for points, label, cls in entries] for side, entries in official().items()},
        r"class 40 is not in 0\.\.39; pass the class names",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_error_that_names_the_file(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, message = DAMAGE[kind]
    path = save(tmp_path, content)
    with pytest.raises(PccloraError, match=message) as caught:
        read(tmp_path)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "exploded").exists()


PLAIN = st.recursive(
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([item()[0], np.int32(1), np.ones(2)]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner, inner) | st.dictionaries(st.text(max_size=1), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLAIN | st.fixed_dictionaries({"train": PLAIN | st.lists(PLAIN), "test": st.lists(PLAIN)}))
def test_any_other_content_is_one_error(tmp_path, content):
    path = save(tmp_path, content)
    with pytest.raises(PccloraError, match=r"0\.pkl") as caught:
        read(tmp_path)
    assert str(path) in str(caught.value)


def draw(*, points=32, folds=2, way=4, shot=2, query=3, **options):
    splits = [ProceduralDataset(ProceduralConfig(train=96, test=96, points=points), split=s) for s in ("train", "test")]
    return [make_episode(*splits, way=way, shot=shot, query=query, fold=fold, **options) for fold in range(folds)]


def test_what_is_written_is_read_back(tmp_path):
    episodes = draw(seed=5)
    folder = write_episodes(episodes, tmp_path / "new")
    assert folder == tmp_path / "new" / "4way_2shot" and find_folds(tmp_path / "new", way=4, shot=2) == [0, 1]
    for episode in episodes:
        again = read_episode(tmp_path / "new", way=4, shot=2, fold=episode.fold)
        assert again.record() == episode.record() and again.seed == 5
        for view, other in ((episode.support, again.support), (episode.query, again.query)):
            assert other.fps_ordered and other.class_names == view.class_names
            np.testing.assert_array_equal(view.labels, other.labels)
            for index in range(len(view)):
                ours, theirs = (np.sort(points, axis=0) for points in (view[index].points, other[index].points))
                np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_is_written_has_the_official_form(tmp_path):
    episode = draw(folds=1)[0]
    path = write_episodes([episode], tmp_path, points=16) / "0.pkl"
    named = {argument for _, argument, _ in pickletools.genops(path.read_bytes()) if isinstance(argument, str)}
    assert "numpy.core.multiarray _reconstruct" in named and not any("numpy._core" in name for name in named)
    content = pickle.loads(path.read_bytes())
    assert list(content) == ["train", "test"] and [len(content[side]) for side in content] == [8, 12]
    for points, label, source_class in content["train"] + content["test"]:
        assert points.shape == (16, 6) and points.dtype == np.float32 and not points[:, 3:].any()
        assert type(label) is type(source_class) is int and source_class == episode.classes[label]


def test_points_are_the_farthest_ones(tmp_path):
    write_episodes(draw(folds=1, points=64), tmp_path, points=16)
    few = read_episode(tmp_path, way=4, shot=2, fold=0, normalize=False)
    loader = make_loader(draw(folds=1, points=64)[0].query, points=16, batch_size=12, train=False)  # its default: fps
    ours, theirs = few.query[3].points, next(iter(loader))["points"][3].numpy()
    np.testing.assert_array_equal(ours, theirs)


def test_a_record_of_another_file_is_refused(tmp_path):
    folder = write_episodes(draw(), tmp_path)
    shutil.copy(folder / "0.json", folder / "1.json")
    with pytest.raises(PccloraError, match=r"1\.json: does not belong to 1\.pkl; remove it"):
        read_episode(tmp_path, way=4, shot=2, fold=1)
    (folder / "1.json").unlink()
    assert read_episode(tmp_path, way=4, shot=2, fold=1, class_names=MODELNET40).seed is None


@pytest.mark.parametrize(
    "changed",
    [
        {"source": 3},
        {"seed": "x"},
        {"class_names": 4},
        {"class_names": ["a", "b", "c"]},
        {"class_names": ["a", "b", "c", 4]},
        {"class_names": ["a", "b", "c", "a"]},
        {"support_indices": None},
        {"query_indices": [[0]] * 12},
        {"query_indices": [0]},
    ],
)
def test_a_record_that_cannot_be_is_refused(tmp_path, changed):
    folder = write_episodes(draw(folds=1), tmp_path)
    record = json.loads((folder / "0.json").read_text())
    (folder / "0.json").write_text(json.dumps(record | changed))
    with pytest.raises(PccloraError, match=r"0\.json: (damaged|class 'a' is named twice)"):
        read_episode(tmp_path, way=4, shot=2, fold=0)
    (folder / "0.json").write_text("[" * 100_000)
    with pytest.raises(PccloraError, match=r"0\.json: cannot be read: nested too deeply"):
        read_episode(tmp_path, way=4, shot=2, fold=0)


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    episodes = draw()
    with pytest.raises(PccloraError, match="has 32 points, 33 of each cloud are to be written; pass a number"):
        write_episodes(episodes, tmp_path, points=33)
    with pytest.raises(PccloraError, match="of one way and shot and of different folds"):
        write_episodes([*episodes, episodes[0]], tmp_path)
    with pytest.raises(PccloraError, match="of one way and shot"):
        write_episodes([*episodes, *draw(way=5)], tmp_path)
    with pytest.raises(PccloraError, match="of one way and shot"):
        write_episodes([], tmp_path)
    assert not list(tmp_path.iterdir())
    write_episodes(episodes, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(PccloraError, match="never overwritten"):
        write_episodes(draw(seed=1), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    (tmp_path / "4way_2shot").rename(tmp_path / "4way2shot")
    with pytest.raises(PccloraError, match="in the other spelling"):
        write_episodes(episodes, tmp_path)


def test_clouds_of_different_sizes_need_a_number_of_points(tmp_path):
    save(tmp_path, {side: [(p[: 20 + i], *r) for i, (p, *r) in enumerate(x)] for side, x in official().items()})
    episode = read(tmp_path)
    with pytest.raises(PccloraError, match="pass a number of points that every cloud has"):
        write_episodes([episode], tmp_path / "new")
    write_episodes([episode], tmp_path / "new", points=20)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99), st.integers(1, 40))
def test_any_setting_survives_the_round_trip(tmp_path_factory, way, shot, query, fold, points):
    splits = [ProceduralDataset(ProceduralConfig(train=48, test=48, points=40), split=s) for s in ("train", "test")]
    episode = make_episode(*splits, way=way, shot=shot, query=query, fold=fold)
    root = tmp_path_factory.mktemp("episodes")
    write_episodes([episode], root, points=points)
    again = read_episode(root, way=way, shot=shot, fold=fold)
    assert again.record() == episode.record() and again.query[0].points.shape == (points, 3)
