"""One runner for all studies: here, in shards, on clusters; the same bits everywhere, a failure stops nothing else."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from pcclora.config import load_config
from pcclora.engine.loop import DivergenceError
from pcclora.errors import PccloraError
from pcclora.studies.comparison import Comparison, compare, table
from pcclora.studies.runner import HERE, Leaf, LeavesFailedError, Workers, begin_study, run_leaves
from pcclora.studies.seeds import resume_seeds, train_seeds
from pcclora.tasks.settings import ClassificationRun
from tests.tools.test_tools import TINY, call

ROOT = Path(__file__).resolve().parents[2]
NEVER_THE_SAME = ("seconds", "memory")


def run_of(*overrides):
    return load_config(ClassificationRun, file=TINY / "cls.yaml", overrides=["train.epochs=1", *overrides])


def figures(value):
    """Everything of a summary but what is measured with a clock."""
    if isinstance(value, dict):
        return {k: figures(v) for k, v in value.items() if not any(word in k for word in NEVER_THE_SAME)}
    return value


def outcome_of(folder):
    """What two equal studies of seeds have in common, bit for bit."""
    names = ("metrics.csv", "predictions.csv", "adapter/adapter_model.safetensors")
    files = {str(p.relative_to(folder)): p.read_bytes() for name in names for p in folder.glob(f"seed_*/{name}")}
    assert len(files) % 3 == 0 and files
    return files, figures(json.loads((folder / "summary.json").read_text()))


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local") / "run"
    assert train_seeds(run_of(), folder, seeds=[0, 1]).complete
    return folder


def touch(file, log):
    with log.open("a") as lines:
        lines.write(f"{file.name}\n")
    if file.name == "2":
        raise ZeroDivisionError("two")
    if file.name == "3":
        raise PccloraError("three")
    file.touch()


def leaves_in(folder, count=6):
    return [Leaf(f"leaf {n}", folder / str(n), partial(touch, folder / str(n), folder / "log")) for n in range(count)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_is_named_and_the_others_go_on(tmp_path, jobs):
    (tmp_path / "4").touch()
    outcome = run_leaves(leaves_in(tmp_path), Workers(jobs=jobs))
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2", "3", "5"], "4 was finished"
    assert set(outcome.failed) == {"leaf 2", "leaf 3"} and outcome.failed["leaf 3"] == "three" and not outcome.left
    assert "ZeroDivisionError: two (test_runner.py, line" in outcome.failed["leaf 2"]
    with pytest.raises(LeavesFailedError, match="failed: leaf 3: three\n2 failed, .* again: the same"):
        outcome.refuse_failures("the same")


def diverge(number):
    if number == 1:
        raise DivergenceError("the loss is nan in epoch 3; lower train.lr")
    raise PccloraError("a disk is full")


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_diverged_is_not_to_be_tried_again_as_it_was(tmp_path, jobs):
    both = [Leaf(f"leaf {n}", tmp_path / str(n), partial(diverge, n)) for n in (0, 1)]
    lower = "1 diverged and would again: begin anew with a lower learning rate"
    with pytest.raises(LeavesFailedError, match=f"2 failed, what is finished stays; again: the same; {lower}$"):
        run_leaves(both, Workers(jobs=jobs)).refuse_failures("the same")
    with pytest.raises(LeavesFailedError, match=f"1 failed, what is finished stays; {lower}$"):
        run_leaves(both[1:], Workers(jobs=jobs)).refuse_failures("the same")


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_each_leaf_has_one_shard(tmp_path, count):
    for number in range(1, count + 1):
        outcome = run_leaves(leaves_in(tmp_path, 2), Workers(shard=(number, count)))
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1"] and outcome.complete


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shard": (0, 2)}, "--shard 0/2: the shards of 2 are 1/2 to 2/2"),
        ({"shard": (17, 16)}, "--shard 17/16"),
        ({"jobs": -1}, "--jobs -1"),
    ],
)
def test_workers_that_cannot_be(options, words):
    with pytest.raises(PccloraError, match=words):
        Workers(**options)


def test_many_begin_one_study(tmp_path):
    """All at the same moment: one makes the folder, whole, and the others find it."""
    files = {"config.yaml": "a: 1\n", "seeds.json": {"seeds": [0, 1]}}
    for attempt in range(10):
        made, begun = tmp_path / str(attempt), partial(begin_study, tmp_path / str(attempt), files)
        with ThreadPoolExecutor(8) as pool:
            threads = [pool.submit(begun, lambda to, n=n: (to / f"by_{n}").touch()) for n in range(8)]
        assert [thread.exception() for thread in threads] == [None] * 8
        assert len(list(made.glob("by_*"))) == 1 and {p.name for p in made.iterdir()} > set(files)
    assert len(list(tmp_path.iterdir())) == 10, "nothing else is left"
    for other in ({"config.yaml": "a: 2\n"}, {"seeds.json": {"seeds": [0]}}, {"suite.json": {}}):
        with pytest.raises(PccloraError, match="never overwritten"):
            begin_study(tmp_path / "0", files | other)


def test_shards_meet_in_one_study(local, tmp_path):
    for number in (1, 2):
        assert not (tmp_path / "run" / "summary.json").exists()
        outcome = train_seeds(run_of(), tmp_path / "run", seeds=[0, 1], workers=Workers(shard=(number, 2)))
        assert outcome.left == (["seed 1"] if number == 1 else [])
    assert outcome_of(tmp_path / "run") == outcome_of(local)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("seed_*/*")}
    assert train_seeds(run_of(), tmp_path / "run", seeds=[0, 1]).complete
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("seed_*/*")}, "all is found finished"
    for other in ({"config": run_of("train.lr=0.5")}, {"seeds": [0, 1, 2]}):
        with pytest.raises(PccloraError, match="never overwritten"):
            train_seeds(**({"config": run_of(), "seeds": [0, 1]} | other), output=tmp_path / "run")


def test_shards_of_a_comparison(tmp_path):
    comparison = Comparison(
        config=str(TINY / "cls.yaml"),
        seeds=[0, 1],
        choose_on="test",
        settings={"linear": ["adapter=linear"], "lora": ["adapter=lora"]},
    )
    for name, shards in (("whole", [(1, 1)]), ("shared", [(2, 2), (1, 2)])):
        for shard in shards:
            assert not list(tmp_path.glob(f"{name}/lora/summary.json"))
            outcome = compare(comparison, tmp_path / name, options=["train.epochs=1"], workers=Workers(shard=shard))
        assert outcome.complete
    for setting in ("linear", "lora"):
        assert outcome_of(tmp_path / "shared" / setting) == outcome_of(tmp_path / "whole" / setting)
    shutil.rmtree(tmp_path / "whole" / "lora" / "seed_0")
    assert compare(comparison, tmp_path / "whole", options=["train.epochs=1"]).complete
    assert not (tmp_path / "whole" / "lora" / "seed_0").exists(), "a setting whose numbers are there is not trained"
    assert "missing" not in table(comparison, tmp_path / "shared").markdown()


def test_a_seed_that_fails_is_named_by_the_tool(tmp_path, capsys):
    words = ["--config", TINY / "cls.yaml", "train.epochs=1", "--seeds", "0", "1", "--output", tmp_path / "run"]
    assert call("train_cls", *words, "--shard", "1/2") == 0
    printed = capsys.readouterr().out
    assert "shard 1/2 is done; others have 1 to finish, as seed 1;" in printed and "next:" not in printed
    (tmp_path / "run" / "seed_1").mkdir()
    (tmp_path / "run" / "seed_1" / "mine.txt").touch()
    assert call("train_cls", *words) == 1
    printed = capsys.readouterr().err
    assert "failed: seed 1: " in printed and "never overwritten" in printed and "--resume" in printed
    shutil.rmtree(tmp_path / "run" / "seed_1")
    assert call("train_cls", *words) == 0
    assert "seeds 0, 1" in " ".join(capsys.readouterr().out.split())


def test_shards_need_a_folder_that_they_know(capsys):
    assert call("train_cls", "--config", TINY / "cls.yaml", "--seeds", "0", "1", "--shard", "1/2") == 2
    assert "name the folder that all shards share, by --output" in capsys.readouterr().err


@pytest.mark.slow
def test_two_shards_side_by_side(local, tmp_path):
    """Two processes that start at the same time, then whichever ends last has made the table."""
    tool = [sys.executable, ROOT / "tools" / "train_cls.py", "--config", TINY / "cls.yaml", "train.epochs=1"]
    words = [*tool, "--seeds", "0", "1", "--output", tmp_path / "run"]
    shards = [subprocess.Popen([*words, "--shard", f"{n}/2"], stdout=subprocess.PIPE, text=True) for n in (1, 2)]
    printed = [shard.communicate()[0] for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0]
    assert any("mean ± sample std" in " ".join(text.split()) for text in printed)
    assert outcome_of(tmp_path / "run") == outcome_of(local)


@pytest.mark.slow
def test_two_dask_workers_train_the_same_seeds(local, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        words = ["--config", TINY / "cls.yaml", "train.epochs=1", "--seeds", "0", "1", "--scheduler", address]
        assert call("train_cls", *words, "--output", tmp_path / "run") == 0
        assert outcome_of(tmp_path / "run") == outcome_of(local)
        workers = Workers(scheduler=address)
        outcome = run_leaves(leaves_in(tmp_path), workers)
        assert set(outcome.failed) == {"leaf 2", "leaf 3"} and not outcome.left


@pytest.mark.slow
def test_a_ray_cluster_trains_the_same_seeds(local, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed; pip install 'pcclora[ray]'")
    workers = Workers(scheduler="ray://local")
    assert train_seeds(run_of(), tmp_path / "run", seeds=[0, 1], workers=workers).complete
    assert outcome_of(tmp_path / "run") == outcome_of(local)


@pytest.mark.parametrize(
    ("scheduler", "missing", "words"),
    [
        ("ray://127.0.0.1:1", "ray", r"needs ray: pip install 'pcclora\[ray\]'"),
        ("dask://127.0.0.1:1", "distributed", r"needs distributed: pip install 'pcclora\[dask\]'"),
    ],
)
def test_a_cluster_without_its_library(tmp_path, monkeypatch, scheduler, missing, words):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PccloraError, match=words):
        run_leaves(leaves_in(tmp_path), Workers(scheduler=scheduler))
    assert not any(tmp_path.iterdir())


def test_more_seeds_are_shared_out_too(local, tmp_path):
    shutil.copytree(local, tmp_path / "run")
    assert resume_seeds(tmp_path / "run", seeds=[2], workers=Workers(shard=(1, 2))).left == []
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["protocol"]["seed"] == [0, 1, 2]
    assert resume_seeds(tmp_path / "run", workers=HERE).complete
