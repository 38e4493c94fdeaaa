"""Few-shot folds: the same with and without a cache, alone and beside others; each fold once; failures named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pcclora.config import with_overrides
from pcclora.data import write_episodes
from pcclora.errors import PccloraError
from pcclora.metrics.accuracy import spread
from pcclora.studies.fewshot import fold as one_fold
from pcclora.studies.fewshot import study
from pcclora.studies.fewshot.classifiers import classify_features
from pcclora.studies.fewshot.fold import load_episode, run_fold
from pcclora.studies.fewshot.settings import load_fewshot
from pcclora.studies.fewshot.study import begin, folds_of, read_folds, reopen, run_folds
from pcclora.studies.fewshot.summary import BEST, console, markdown, summarize, write_summary
from pcclora.studies.runner import HERE, Workers

TINY = Path(__file__).parents[1] / "tiny" / "fewshot.yaml"


def tiny(*overrides, methods=()):
    return load_fewshot(TINY, overrides, methods=methods)


def comparison(folder, *overrides, methods=(), workers=HERE):
    config = tiny(*overrides, methods=methods)
    begin(config, folder)
    return config, run_folds(config, folder, workers).failed


def without_time(record):
    return {key: value for key, value in record.items() if key not in ("seconds", "computed_once")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fewshot") / "run"
    config, failed = comparison(folder)
    assert not failed
    return config, folder


@pytest.mark.parametrize(("method", "kept"), [("linear", "features"), ("CLoRA", "tokens")])
@pytest.mark.parametrize("augmentation", ["mn40_st", "none"])
def test_cached_is_uncached_bit_for_bit(tmp_path, method, kept, augmentation):
    found = {}
    for cache in ("auto", "always", "never"):
        config = tiny(f"cache={cache}", f"augmentation={augmentation}").method(method)
        found[cache] = run_fold(config, 3, 4, 1, adapter=tmp_path / cache)
    weights = {cache: load_file(tmp_path / cache / "adapter_model.safetensors") for cache in found}
    assert [found[cache]["computed_once"] for cache in found] == [kept, kept, "nothing"]
    for cache in ("always", "never"):
        assert without_time(found[cache]) == without_time(found["auto"])
        assert all(torch.equal(weights[cache][name], weights["auto"][name]) for name in weights["auto"])


def test_a_new_view_in_every_epoch_is_another_run(tmp_path):
    one, other = (
        run_fold(tiny(f"views={views}").method("linear"), 3, 4, 0, adapter=tmp_path / str(views)) for views in (1, 0)
    )
    weights = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("1", "0")]
    assert one["computed_once"] == "features" and other["computed_once"] == "nothing"
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("method", "overrides", "why"),
    [
        ("full", ["methods.full=[adapter=full]"], "trains the tokeniser"),
        ("linear", ["views=0"], "views=0 draws other points in every epoch"),
    ],
)
def test_a_cache_that_cannot_be_used_is_refused(tmp_path, method, overrides, why):
    with pytest.raises(PccloraError, match=why):
        comparison(tmp_path / "run", "cache=always", *overrides, methods=[method])
    assert not any(tmp_path.iterdir())
    tiny(*overrides, "cache=auto", methods=[method])


def test_the_floor_is_what_it_says():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 5)
    support = (rng.normal(size=(15, 6)) + 2 * np.eye(3, 6)[labels]).astype(np.float32)
    query = rng.normal(size=(20, 6)).astype(np.float32)
    mean, std = support.mean(0), support.std(0)
    a, b = ((x - mean) / std for x in (support, query))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    centres = np.stack([a[labels == c].mean(0) for c in range(3)])
    for kind, near in (("prototype", centres), ("nearest", a)):
        nearest = np.linalg.norm(b[:, None] - near, axis=2).argmin(1)
        expected = nearest if kind == "prototype" else labels[nearest]
        assert np.array_equal(classify_features(kind, support, labels, query), expected)


def test_the_folds_are_shared_and_written_down(finished):
    config, folder = finished
    records = read_folds(config, folder)
    assert list(records) == folds_of(config) and len(records) == 6
    for fold, record in records.items():
        episode = load_episode(config, fold.way, fold.shot, fold.number)
        assert record["episode"] == episode.record() and len(record["predictions"]) == 9
        assert record["accuracy"] == np.mean(np.equal(record["predictions"], record["labels"]))
    trained = {fold.method: record["trained"] for fold, record in records.items()}
    assert trained["prototype"] == 0 < trained["linear"] < trained["CLoRA"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: {}, "there is no way"),
        (lambda record: [record], "one JSON object is expected"),
        (lambda record: record | {"accuracy": "0.5"}, "accuracy is '0.5', a finite number is needed"),
        (lambda record: record | {"trained": 0.5}, "trained is 0.5, a whole number is needed"),
        (lambda record: record | {"episode_sha256": None}, "episode_sha256 is None, a text is needed"),
        (lambda record: record | {"way": 4}, "is of another fold"),
    ],
)
def test_a_damaged_fold_is_named_with_the_remedy(finished, tmp_path, change, message):
    config, folder = finished
    shutil.copytree(folder, tmp_path / "run")
    file = folds_of(config)[0].file(tmp_path / "run")
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(PccloraError, match=rf"{file.name}: .*{message}"):
        read_folds(config, tmp_path / "run")


def test_two_processes_are_one_after_the_other(finished, tmp_path):
    config, folder = finished
    _, failed = comparison(tmp_path / "two", workers=Workers(jobs=2))
    assert not failed
    one, two = (list(map(without_time, read_folds(config, path).values())) for path in (folder, tmp_path / "two"))
    assert one == two


def test_a_failing_fold_is_named_and_the_rest_go_on(tmp_path, monkeypatch):
    ran = []

    def sometimes(config, way, shot, fold, *, adapter):
        ran.append((config.classifier, fold))
        if (config.classifier, fold) == ("prototype", 1):
            raise RuntimeError("out of luck")
        return run_fold(config, way, shot, fold, adapter=adapter)

    with monkeypatch.context() as patched:
        patched.setattr(study, "run_fold", sometimes)
        config, failed = comparison(tmp_path / "run", methods=["prototype", "linear"])
    ((name, why),) = failed.items()
    fold = next(fold for fold in folds_of(config) if str(fold) == name)
    assert name == "3-way 4-shot, prototype, fold 1" and "RuntimeError: out of luck" in why and len(ran) == 4
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("folds/*/*/*.json")}
    assert len(before) == 3 and not fold.file(tmp_path / "run").exists()
    (result,) = summarize(config, read_folds(config, tmp_path / "run"))
    assert result.missing == 1 and result.pairs[0].folds == 1
    assert "1 folds of methods missing" in markdown(result)

    assert run_folds(reopen(tmp_path / "run"), tmp_path / "run", HERE).complete
    assert fold.file(tmp_path / "run").is_file()
    assert all(path.stat().st_mtime_ns == at for path, at in before.items()), "a finished fold is not run again"


def test_an_interrupted_comparison_keeps_what_is_finished(tmp_path, monkeypatch):
    def stop(config, way, shot, fold, *, adapter):
        if fold == 1:
            raise KeyboardInterrupt
        return run_fold(config, way, shot, fold, adapter=adapter)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(study, "run_fold", stop)
        comparison(tmp_path / "run", methods=["prototype"])
    config = reopen(tmp_path / "run", folds=3)
    assert len(read_folds(config, tmp_path / "run")) == 1
    assert run_folds(config, tmp_path / "run", HERE).complete
    assert [fold.number for fold in read_folds(config, tmp_path / "run")] == [0, 1, 2]
    assert reopen(tmp_path / "run").folds == 3
    with pytest.raises(PccloraError, match="begun with 3"):
        reopen(tmp_path / "run", folds=2)


def test_the_best_epoch_on_the_queries_comes_only_by_option_and_labelled(finished, tmp_path):
    config, folder = finished
    assert all(BEST not in record for record in read_folds(config, folder).values())
    config, _ = comparison(tmp_path / "run", "selection=best_on_test", "train.epochs=4", methods=["linear"])
    records = read_folds(config, tmp_path / "run")
    assert all(record[BEST] >= record["accuracy"] for record in records.values())
    last, best = write_summary(config, records, tmp_path / "run")
    assert (last.figure, best.figure) == ("accuracy", BEST)
    assert best.methods["linear"].values == tuple(record[BEST] for record in records.values())
    assert "best epoch chosen on the queries" in markdown(best) and "best" not in markdown(last)


def test_the_numbers_of_the_summary(finished):
    config, folder = finished
    records = read_folds(config, folder)
    (result,) = write_summary(config, records, folder)
    for name, held in result.methods.items():
        values = [record["accuracy"] for fold, record in records.items() if fold.method == name]
        assert held.values == tuple(values) and held.mean == pytest.approx(np.mean(values))
        assert held.std == pytest.approx(np.std(values, ddof=1)) and held.std_population == pytest.approx(
            np.std(values)
        )
        assert held.half_width == spread(values).half_width
    lines = (folder / "folds.csv").read_text().splitlines()
    assert len(lines) == 7 and lines[0].startswith("way,shot,method,fold,accuracy")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["settings"][0]["methods"]["linear"]["mean"] == result.methods["linear"].mean
    table = console(config, [result], folder)
    assert max(len(line) for line in table.splitlines() if "folder:" not in line) <= 80
    assert all(word in table for word in ("prototype", "CLoRA", "pop.", "± sample std", "Holm"))


def test_other_data_than_the_other_methods_met_are_refused(finished, tmp_path):
    config, folder = finished
    fold = folds_of(config)[0]
    text = fold.file(folder).read_text()
    try:
        fold.file(folder).write_text(text.replace('"episode_sha256": "', '"episode_sha256": "x'))
        with pytest.raises(PccloraError, match="not that of the other methods"):
            read_folds(config, folder)
    finally:
        fold.file(folder).write_text(text)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["way=[17]"], "17 ways are asked for, the data set has 16 classes"),
        (["shot=[7]"], "have 7 objects in 'train'"),
        (["query=5"], "5 in 'test'"),
        (["way=[3,3]"], "give each number once"),
        (["way=[]"], "give each number once"),
        (["selection=validation"], "none to spare"),
        (["votes=2"], "asked once"),
        (["folds=0"], "folds is 0"),
        (["episodes=absent"], "absent"),
        (["methods.other=[adapter=lora,seed=3]"], "would give it other folds"),
        (["methods.clora=[adapter=clora]"], "the same letters and digits"),
        (["methods.other=[adapter=lorra]"], "did you mean 'lora'"),
        (["checkpoint=absent.pth"], "absent.pth: no such file"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(tmp_path, overrides, words):
    with pytest.raises(PccloraError, match=words.replace("[", r"\[")):
        comparison(tmp_path / "run", *overrides)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scans", "test_fraction", "shot", "query"), [(20, 0.25, 3, 5), (45, 0.5, 3, 20), (20, 0.1, 3, 2)]
)
def test_queries_that_are_not_set_are_as_many_as_the_data_give(tmp_path, caplog, scans, test_fraction, shot, query):
    for name, count in {"cup": scans, "mug": scans * 2, "jar": scans * 2, "one": 1}.items():
        (tmp_path / "scans" / name).mkdir(parents=True)
        for number in range(count):
            cloud = np.random.default_rng([number, *name.encode()]).normal(size=(4, 3))
            np.save(tmp_path / "scans" / name / f"{number}.npy", cloud)
    data = f"data={{name: folder, root: {tmp_path / 'scans'}, test_fraction: {test_fraction}}}"
    config = load_fewshot(None, [data, "way=[3]", f"shot=[{shot}]"])
    assert config.query == 0
    with caplog.at_level("INFO", "pcclora"):
        settled = one_fold.settle_queries(config)
    assert settled.query == query and load_episode(settled, 3, shot, 0).queries == query
    said = [message for message in caplog.messages if message.startswith("query=")]
    assert said == [
        f"query={query}: so many objects of each class are asked about, as 'cup' has no more beside what is "
        "learnt from; 20 in the literature"
    ] * (query < 20)
    assert one_fold.settle_queries(settled) == settled
    with pytest.raises(PccloraError, match="4 ways are asked for, 3 of 4 classes have 3 objects in 'train' and 1 in"):
        load_episode(one_fold.settle_queries(load_fewshot(None, [data, "way=[4]", f"shot=[{shot}]"])), 4, shot, 0)


@pytest.mark.slow
def test_a_dask_cluster_of_two_workers(finished, tmp_path):
    distributed = pytest.importorskip("distributed")
    config, folder = finished
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        _, failed = comparison(tmp_path / "run", workers=Workers(scheduler=cluster.scheduler_address))
        assert not failed
    one, two = (list(map(without_time, read_folds(config, path).values())) for path in (folder, tmp_path / "run"))
    assert one == two


@pytest.mark.slow
def test_threads_of_one_process_would_share_its_random_numbers(tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        pytest.raises(PccloraError, match="workers of one thread each"),
    ):
        comparison(tmp_path / "run", workers=Workers(scheduler=cluster.scheduler_address))


def test_a_comparison_goes_on_with_its_own_data_or_not_at_all(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            np.save(
                tmp_path / "data" / name / f"{number}.npy",
                np.random.default_rng([ord(name), number]).normal(size=(64, 3)),
            )
    data = f"data={{name: folder, root: {tmp_path / 'data'}, test_fraction: 0.4}}"
    comparison(tmp_path / "run", data, methods=["prototype"])
    reopen(tmp_path / "run", folds=3)
    (tmp_path / "data" / "a" / "0.npy").unlink()
    np.save(tmp_path / "data" / "b" / "new.npy", np.eye(64, 3))
    one_fold._dataset.cache_clear()  # as a new process has it
    with pytest.raises(PccloraError, match=r"1 gone \(as a/0.npy\), .*1 new objects \(as b/new.npy; 1 b\)"):
        reopen(tmp_path / "run")


def test_episodes_that_are_read_are_compared_too(tmp_path):
    config = tiny()
    write_episodes([load_episode(config, 3, 4, fold) for fold in range(2)], tmp_path / "episodes")
    comparison(tmp_path / "run", f"episodes={tmp_path / 'episodes'}", methods=["prototype"])
    reopen(tmp_path / "run")
    folder = tmp_path / "episodes" / "3way_4shot"
    shutil.copy(folder / "0.pkl", folder / "1.pkl")
    shutil.copy(folder / "0.json", folder / "1.json")
    (folder / "1.json").write_text((folder / "1.json").read_text().replace('"fold": 0', '"fold": 1'))
    with pytest.raises(PccloraError, match="not those it was begun with"):
        reopen(tmp_path / "run")


@pytest.mark.parametrize(("method", "words"), [("prototype", "classifier=prototype"), ("CLoRA", "")])
def test_answers_that_are_no_numbers_are_none(monkeypatch, method, words):
    config = tiny().method("CLoRA")
    config = with_overrides(config, [words], source="test") if words else config
    real = one_fold.build_model

    def damaged(config, labels):
        model = real(config, labels)
        with torch.no_grad():
            model.norm.weight.fill_(float("nan"))
        return model

    monkeypatch.setattr(one_fold, "build_model", damaged)
    with pytest.raises(PccloraError, match=r"answers of the model are nan or infinite|the loss is nan in epoch 1"):
        run_fold(config, 3, 4, 0)


def test_a_batch_of_one_is_refused_for_what_is_trained(tmp_path):
    with pytest.raises(PccloraError, match="train.batch_size=2 or more"):
        begin(tiny("train.batch_size=1"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    begin(tiny("train.batch_size=1", methods=["prototype"]), tmp_path / "untrained")
