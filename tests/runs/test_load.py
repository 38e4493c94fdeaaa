"""Several runs in the memory of one backbone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import pcclora
from pcclora.registry import MODELS
from pcclora.tasks.registry import load_run_config
from tests.runs.conftest import trained
from tests.tools.test_tools import TINY

CLOUD = np.random.default_rng(0).normal(size=(400, 3))


def ask(run):
    options = {"category": "chair"} if run.task == "partseg" else {}
    return run.predict(CLOUD, **options).probabilities


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Runs on one base with other adapters, other classes and another task, and one on another base."""
    root = tmp_path_factory.mktemp("many")
    model = load_run_config(TINY / "partseg.yaml").model
    for seed, name in enumerate(("base", "other")):
        torch.manual_seed(seed)
        torch.save(MODELS.build(model, task="cls", num_classes=5).state_dict(), root / f"{name}.pth")
    for name in ("cup", "mug"):
        (root / "scans" / name).mkdir(parents=True)
        for number in range(8):
            np.save(root / "scans" / name / f"{number}.npy", np.random.default_rng(number).normal(size=(80, 3)))

    def run(name, task, *words, base="base"):
        return trained(root / name, task, f"checkpoint={root / base}.pth", "model.depth=3", *words)

    return {
        "cls": run("cls", "cls"),
        "partseg": run("partseg", "partseg"),
        "two": run(
            "two", "cls", f"data={{name: folder, root: {root / 'scans'}}}", "train.batch_size=4", "adapter=bitfit"
        ),
        "other": run("other", "cls", base="other"),
        "full": run("full", "cls", "adapter=full"),
    }


def pointers(run):
    return {name: tensor.data_ptr() for name, tensor in run.model.named_parameters()}


def test_they_share_the_base_and_answer_as_each_alone(many):
    runs = pcclora.load_runs(many.values())
    assert list(runs) == [str(many["cls"]), "partseg", *(str(many[name]) for name in ("two", "other", "full"))]
    by_name = dict(zip(many, runs.values(), strict=True))
    for name, run in by_name.items():
        assert np.array_equal(ask(run), ask(pcclora.load_run(many[name])))
    first = pointers(by_name["cls"])
    weights = dict(by_name["cls"].model.named_parameters())
    trunk = [name for name, own in weights.items() if name.startswith(("blocks", "encoder")) and own.ndim > 1]
    for name in ("partseg", "two"):
        held = pointers(by_name[name])
        assert [key for key in trunk if held.get(key) != first[key]] == []
        assert all(held[key] != first.get(key) for key in held if "cls_head" in key or key not in first)
    for name in ("other", "full"):
        held = pointers(by_name[name])
        assert [key for key in trunk if held[key] == first[key]] == [], name


def test_what_is_done_to_one_is_not_done_to_the_others(many):
    cls, partseg, two = pcclora.load_runs([many["cls"], many["partseg"], many["two"]]).values()
    before = {name: tensor.clone() for name, tensor in partseg.model.state_dict().items()}
    expected = ask(two)
    cls.merge()
    np.testing.assert_allclose(ask(cls), ask(pcclora.load_run(many["cls"])), atol=1e-5)
    del cls
    assert all(torch.equal(tensor, before[name]) for name, tensor in partseg.model.state_dict().items())
    assert np.array_equal(ask(two), expected)


def test_moved_to_a_device_they_share_there(many):
    """A move makes new tensors of all; here by way of another type and back, since there is one device."""
    cls, partseg = pcclora.load_runs([many["cls"], many["partseg"]]).values()
    partseg.model.double().float()
    name = "blocks.0.attn.qkv.weight"
    assert pointers(partseg)[name] != pointers(cls)[name]
    partseg.to("cpu")
    assert pointers(partseg)[name] == pointers(cls)[name]


def test_threads_ask_several_runs_at_once(many):
    runs = list(pcclora.load_runs([many["cls"], many["partseg"], many["two"]]).values())
    expected = [ask(run) for run in runs]
    with ThreadPoolExecutor(6) as pool:
        for number, found in enumerate(pool.map(lambda number: ask(runs[number % 3]), range(24))):
            assert np.array_equal(found, expected[number % 3])


def test_one_that_cannot_be_loaded_is_named(many, tmp_path):
    with pytest.raises(pcclora.PccloraError, match="not a run folder"):
        pcclora.load_runs([many["cls"], tmp_path])
    with pytest.raises(pcclora.PccloraError, match="is named twice"):
        pcclora.load_runs([many["cls"], many["cls"]])
    assert pcclora.load_runs([]) == {}
