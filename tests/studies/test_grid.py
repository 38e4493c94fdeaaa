"""Settings chosen on validation images, and the tasks of a suite together."""

import json
import shutil

import numpy as np
import pytest

from pcclora.data.sets.vtab1k import TASKS as VTAB1K
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.studies.grid import AS_GIVEN, choose, point_name, read_grid, read_search, write_point
from pcclora.studies.runner import Workers
from pcclora.studies.suite import Suite, begin_suite, extend_suite, final_folder, find_tasks, run_suite
from pcclora.studies.suite_summary import suite_table, suites_table, summarize_suite
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import ImageRun, data_name
from tests.data.image_trees import vtab_task
from tests.runs.summaries import summary
from tests.tasks.test_images import TINY

pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))


def grid(tmp_path, text):
    (tmp_path / "grid.yaml").write_text(text)
    return read_grid(tmp_path / "grid.yaml")


def test_a_grid_is_every_combination(tmp_path):
    points = grid(tmp_path, "train.lr: [0.001, 1.0e-05]\nadapter.target_modules: [null, ['a.*', 'b[q,v]']]\n")
    assert points == [
        ("train.lr=0.001", "adapter.target_modules=null"),
        ("train.lr=0.001", 'adapter.target_modules=["a.*", "b[q,v]"]'),
        ("train.lr=1e-05", "adapter.target_modules=null"),
        ("train.lr=1e-05", 'adapter.target_modules=["a.*", "b[q,v]"]'),
    ]
    assert len({point_name(point) for point in points}) == 4
    config = load_run_config(TINY, points[3])
    assert config.train.lr == 1e-5 and list(config.adapter.target_modules) == ["a.*", "b[q,v]"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train.lr: 0.001", ["train.lr is 0.001", "a list of values"]),
        ("data.root: [a, b]", ["cannot vary 'data.root'"]),
        ("seed: [0, 1]", ["cannot vary 'seed'"]),
        ("model.name: ['a/b', 'a:b']", ["letters and digits of its own"]),
        ("[1, 2]", ["a mapping of keys"]),
    ],
)
def test_a_bad_grid_is_refused(tmp_path, text, words):
    with pytest.raises(PccloraError) as refused:
        grid(tmp_path, text)
    assert all(word in str(refused.value) for word in words), refused.value


def finished(folder, accuracy):
    folder.mkdir(parents=True)
    samples = {"train": 800, "test": 200}
    (folder / "summary.json").write_text(json.dumps(summary(metrics={"accuracy": accuracy}, samples=samples)))


@pytest.mark.parametrize(
    "change",
    [
        {"options": "train.lr=0.1"},
        {"options": [["train.lr=0.1"]]},
        {"accuracy": "0.5"},
        {"error": 3},
        {"samples": {"train": 800}},
        {"samples": [800, 200]},
    ],
)
def test_a_damaged_point_is_named(tmp_path, change):
    point, folder = ("train.lr=0.1",), tmp_path / "tuning" / "train.lr=0.1"
    finished(folder, 0.25)
    write_point(folder, point, "accuracy")
    held = json.loads((folder / "point.json").read_text())
    (folder / "point.json").write_text(json.dumps(held | change))
    with pytest.raises(
        PccloraError, match=r"train\.lr=0\.1/point\.json: .* is needed; .*: delete it|has no|there is no"
    ):
        choose(tmp_path, [point], "accuracy")
    with pytest.raises(PccloraError, match=r"no point\.json is of the point train\.lr=3"):
        write_point(folder, point, "accuracy")
        choose(tmp_path, [("train.lr=3",)], "accuracy")


@pytest.mark.parametrize("name", ["search.json", "suite.json"])
@pytest.mark.parametrize("text", ["[]", "{}", '{"tasks": "kitti", "points": [], "seeds": []}', "{", "[" * 10**5])
def test_a_damaged_search_or_suite_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(PccloraError, match=name.replace(".", r"\.")):
        read_search(tmp_path / name) if name == "search.json" else Suite.read(tmp_path)


@pytest.mark.parametrize("task", ["../../elsewhere", "/elsewhere", "svhn/..", "nonsense"])
def test_no_task_of_a_strange_suite_leads_out_of_its_folder(tmp_path, task):
    (tmp_path / "suite.json").write_text(json.dumps({"tasks": ["svhn", task], "points": [], "seeds": []}))
    with pytest.raises(PccloraError, match=f"suite.json: '{task}' is no task; begin the suite again"):
        Suite.read(tmp_path)


def test_the_first_of_the_best_is_chosen(tmp_path):
    points = [("train.lr=0.1",), ("train.lr=0.01",), ("train.lr=0.001",), ("train.lr=9",)]
    for point, accuracy in zip(points, (0.25, 0.5, 0.5, None), strict=True):
        folder = tmp_path / "tuning" / point_name(point)
        if accuracy is None:
            write_point(folder, point, "accuracy", error="the loss is nan")
        else:
            finished(folder, accuracy)
            write_point(folder, point, "accuracy")
    search = choose(tmp_path, points, "accuracy")
    assert search["chosen"] == ["train.lr=0.01"] and search["on"] == 200 and len(search["points"]) == 4
    assert json.loads((tmp_path / "search.json").read_text()) == search
    with pytest.raises(PccloraError, match="no point of the grid came to its end; the loss is nan"):
        choose(tmp_path, points[3:], "accuracy")


def test_tasks_are_found_by_name_and_group():
    data = load_run_config(TINY, ["data=vtab1k"]).data
    assert find_tasks(data, ["all"]) == tuple(VTAB1K)
    groups = {held.group for held in VTAB1K.values()}
    assert groups == {"Natural", "Specialized", "Structured"}
    assert sum(len(find_tasks(data, [group.lower()])) for group in groups) == 19
    assert find_tasks(data, ["svhn", "cifar"]) == ("cifar", "svhn")
    with pytest.raises(PccloraError, match=r"unknown task 'cifer'; did you mean 'cifar'\?"):
        find_tasks(data, ["cifer"])
    with pytest.raises(PccloraError, match="'digits' is one task; vtab1k and fgvc have several"):
        find_tasks(ImageRun().data, ["all"])


def summary_of(values):
    return {
        "task": "image classification",
        "data": "vtab1k/x",
        "model": "vit_mini",
        "checkpoint": "none",
        "checkpoint_sha256": None,
        "adapter": {"name": "clora"},
        "protocol": {"augmentation": "none", "seed": list(range(len(values)))},
        "metrics": {"accuracy": {"values": values}},
        "samples": {"train": 1000, "test": 10},
        "parameters": {"trained": 1010 + len(values), "head": 10},
    }


def test_the_means_are_those_of_the_papers():
    rng = np.random.default_rng(0)
    values = {task: rng.random(3) for task in VTAB1K}
    found = summarize_suite({task: summary_of(own.tolist()) for task, own in values.items()})
    of_group = {
        group: np.mean([values[t] for t, held in VTAB1K.items() if held.group == group], axis=0)
        for group in ("Natural", "Specialized", "Structured")
    }
    for group, own in of_group.items():
        assert found["means"][group]["mean"] == pytest.approx(own.mean())
        assert found["means"][group]["std"] == pytest.approx(own.std(ddof=1))
    groups = np.mean(list(of_group.values()), axis=0)
    assert found["means"]["mean of the groups"]["mean"] == pytest.approx(groups.mean())
    assert found["means"]["mean of the groups"]["std"] == pytest.approx(groups.std(ddof=1))
    assert found["means"]["mean of the 19 tasks"]["mean"] == pytest.approx(np.mean(list(values.values())))
    assert suite_table(found).count("\n| ") == 1 + 19 + 5
    table = suites_table({"CLoRA": found, "LoRA": {}}, list(VTAB1K))
    assert table.headings[19:] == [
        "smallnorb_ele",
        "Natural",
        "Specialized",
        "Structured",
        "mean3",
        "mean19",
        "trained",
    ]
    clora, lora = table.rows
    mean3, mean19 = groups, np.mean(list(values.values()), axis=0)
    assert clora[23:] == [f"{100 * own.mean():.1f} ± {100 * own.std(ddof=1):.1f}" for own in (mean3, mean19)] + [
        "1,003 + head"
    ]
    assert lora[:2] == ["LoRA", "missing"] and len(lora) == len(clora)


def test_a_group_that_is_not_whole_has_no_mean():
    held = {
        task: summary_of([0.5]) for task in ("patch_camelyon", "eurosat", "resisc45", "diabetic_retinopathy", "dtd")
    }
    assert set(summarize_suite(held)["means"]) == {"Specialized"}


DATA = ["train.batch_size=4", "train.epochs=2", "train.warmup_epochs=0"]


@pytest.fixture
def tree(tmp_path):
    for task, classes in (("kitti", 4), ("patch_camelyon", 2)):
        vtab_task(tmp_path / "data", task, classes=classes)
    return tmp_path / "data"


def config(tree, *overrides):
    return load_run_config(TINY, [f"data={{name: vtab1k, root: {tree}, task: kitti}}", *DATA, *overrides])


def marks(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("last.safetensors")}


def test_a_suite_is_searched_trained_and_grows(tree, tmp_path):
    output, points = tmp_path / "out", (("train.lr=0.001",), ("train.lr=1e30", "train.clip=0"))
    begin_suite(config(tree), Suite(("kitti",), points, (0, 1)), output)
    finals = run_suite(output)
    search = json.loads((output / "kitti" / "search.json").read_text())
    assert search["chosen"] == ["train.lr=0.001"] and (search["on"], search["trained_on"]) == (4, 8)
    assert "the loss is" in search["points"][1]["error"]
    tuning = RunFolder(output / "kitti" / "tuning" / "train.lr=0.001").read_summary()
    assert tuning["samples"] == {"train": 8, "test": 4} and tuning["data"] == "vtab1k/kitti (tuning)"
    summary = RunFolder(finals["kitti"]).read_summary()
    assert summary["samples"] == {"train": 12, "test": 6} and summary["data"] == "vtab1k/kitti"
    assert summary["search"] == search and len(summary["metrics"]["accuracy"]["values"]) == 2
    assert RunFolder(finals["kitti"] / "seed_1").read_summary()["search"] == search

    before = marks(output)
    extend_suite(output, Suite(("patch_camelyon",), (("train.lr=0.002",),), (2,)))
    finals = run_suite(output)
    assert list(finals) == ["kitti", "patch_camelyon"]
    now = marks(output)
    assert before.items() <= now.items(), "nothing that is finished is run again"
    for task in finals:
        assert len(json.loads((output / task / "search.json").read_text())["points"]) == 3
        assert len(RunFolder(finals[task]).read_summary()["metrics"]["accuracy"]["values"]) == 3


@pytest.mark.slow
def test_runs_at_the_same_time_are_the_same_runs(tree, tmp_path):
    for jobs in (1, 2):
        begin_suite(config(tree), Suite(("kitti",), (("train.lr=0.001",), ("train.lr=0.01",))), tmp_path / str(jobs))
        run_suite(tmp_path / str(jobs), Workers(jobs=jobs))
    first, second = (sorted((tmp_path / str(jobs)).rglob("metrics.csv")) for jobs in (1, 2))
    assert len(first) == 3 and [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_shards_search_first_and_train_then(tree, tmp_path):
    found = {}
    for name, shards in (("whole", [(1, 1)]), ("shared", [(2, 2), (1, 2), (2, 2)])):
        suite = Suite(("kitti",), (("train.lr=0.001",), ("train.lr=0.01",)), (0, 1))
        for shard in shards:
            begin_suite(config(tree), suite, tmp_path / name)
            finals = run_suite(tmp_path / name, Workers(shard=shard))
            found.setdefault(name, []).append(list(finals))
        found[name, "metrics"] = RunFolder(finals["kitti"]).read_summary()["metrics"]
    assert found["whole"] == [["kitti"]] and found["shared"] == [[], [], ["kitti"]]
    assert found["whole", "metrics"] == found["shared", "metrics"]


def test_tuning_opens_no_test_image(tree, tmp_path):
    for name in ("images/test", "images/train800val200", "test.txt", "train800val200.txt"):
        gone = tree / "kitti" / name
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    from pcclora.runs.adapt import train

    run = train(config(tree, "data.tuning=true"), tmp_path / "run")
    assert run.read_summary()["samples"] == {"train": 8, "test": 4}


def test_without_a_grid_the_settings_are_used_as_given(tree, tmp_path):
    begin_suite(config(tree), Suite(("kitti",)), tmp_path / "out")
    finals = run_suite(tmp_path / "out")
    assert finals == {"kitti": final_folder(tmp_path / "out", "kitti", ())} and finals["kitti"].name == AS_GIVEN
    assert "search" not in RunFolder(finals["kitti"]).read_summary()
    assert data_name(load_run_config(finals["kitti"] / "config.yaml").data) == "vtab1k/kitti"
    with pytest.raises(PccloraError, match="begun without --seeds"):
        extend_suite(tmp_path / "out", Suite(seeds=(1,)))


@pytest.mark.parametrize(
    ("overrides", "suite", "words"),
    [
        (["selection=best_on_test"], Suite(("kitti",), (("train.lr=0.1",),)), "leave out data.tuning and selection"),
        (["data.tuning=true"], Suite(("kitti",), (("train.lr=0.1",),)), "leave out data.tuning and selection"),
        ([], Suite(("kitti",), (("train.rate=0.1",),)), "train.rate: unknown key"),
        ([], Suite(("kitti", "svhn")), "svhn"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(tree, tmp_path, overrides, suite, words):
    with pytest.raises(PccloraError, match=words):
        begin_suite(config(tree, *overrides), suite, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_cannot_be_searched_are_refused(tmp_path):
    held = load_run_config(TINY, ["data={name: procedural_images, train: 16, test: 16}"])
    with pytest.raises(PccloraError, match="has no 'tuning'"):
        begin_suite(held, Suite(points=(("train.lr=0.1",),)), tmp_path / "out")


def test_tuning_digits_and_photographs_leaves_the_test_alone(tmp_path):
    from PIL import Image

    from pcclora.registry import DATASETS

    for label in ("a", "b"):
        for n in range(10):
            (tmp_path / label).mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (n, n, n)).save(tmp_path / label / f"{n}.png")
    for section in ("{name: digits, tuning: TUNING}", f"{{name: image_folder, root: {tmp_path}, tuning: TUNING}}"):
        paths = {}
        for tuning in ("true", "false"):
            data = load_run_config(TINY, [f"data={section.replace('TUNING', tuning)}"]).data
            for split in ("train", "test"):
                dataset = DATASETS.build(data, split=split)
                paths[tuning, split] = {dataset[n].path for n in range(len(dataset))}
                assert len(dataset.labels) == len(dataset) and set(dataset.labels) == set(
                    range(len(dataset.class_names))
                )
        assert paths["true", "train"] | paths["true", "test"] == paths["false", "train"]
        assert not paths["true", "train"] & paths["true", "test"]
