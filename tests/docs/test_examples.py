"""The examples in the docstrings of public names, carried out: each by itself, in a folder of its own."""

import doctest
from importlib import import_module

import pytest

ROOMS = [f"pcclora.{room}" for room in ("adapters", "data", "metrics", "models", "ops", "vis")]


def _examples() -> list[doctest.DocTest]:
    parser = doctest.DocTestParser()
    named = ((room, name, getattr(import_module(room), name)) for room in ROOMS for name in import_module(room).__all__)
    tests = (parser.get_doctest(found.__doc__ or "", {}, f"{room}.{name}", None, 0) for room, name, found in named)
    return [test for test in tests if test.examples]


def test_the_names_used_most_have_examples():
    most = {"create_model", "load_checkpoint", "attach", "save_adapter", "load_adapter", "merge", "count_macs"}
    most |= {"read_scan", "read_points", "sample_farthest_points", "knn_points"}
    assert most <= {test.name.rsplit(".", 1)[1] for test in _examples()}


@pytest.mark.parametrize("example", _examples(), ids=lambda example: example.name.removeprefix("pcclora."))
def test_example_is_true(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert not result.failed, "".join(said)
