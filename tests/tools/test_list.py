"""What can be named, and its keys: all of them, with their meaning, and as they are given."""

import sys
from dataclasses import fields, is_dataclass

import pytest

from pcclora.config import load_config, to_dict
from pcclora.described import described
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS, DATASETS, MODELS
from pcclora.tasks.settings import ClassificationRun
from pcclora.tools.list import KINDS, RUNS, main

SECTIONS = {"data": DATASETS, "models": MODELS, "adapters": ADAPTERS}
CASES = [(kind, name) for kind, registry in SECTIONS.items() for name in registry.names()]
CASES += [("models", "timm/vit_tiny_patch16_224"), *(("runs", name) for name in RUNS)]


@pytest.fixture
def said(monkeypatch, capsys):
    def say(*words):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/pcclora list", *words])
        main()
        return capsys.readouterr().out

    return say


def keys(said):
    """key -> default, of lines that begin with a key."""
    words = [line.split("  (")[0] for line in said.splitlines()[1:] if line[:1].strip()]
    return {key: value if equals else "null" for key, equals, value in (word.partition("=") for word in words)}


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_every_key_is_there_with_its_meaning_in_80_columns(said, kind, name):
    text = said(kind, name)
    assert max(map(len, text.splitlines())) <= 80
    for schema, prefix in sections(KINDS[kind].schema(name), KINDS[kind].key):
        own = [field.name for field in fields(schema) if field.init and not section_of(field)]
        given = {"architecture"} if name.startswith("timm/") else set()
        assert {f"{prefix}{key}" for key in own if key not in given} <= keys(text).keys()
        assert all(described(schema)[key].endswith(".") for key in own)


def sections(schema, prefix):
    prefix = f"{prefix}." if prefix else ""
    yield schema, prefix
    for field in fields(schema):
        if section_of(field):
            yield from sections(field.type, f"{prefix}{field.name}")


def section_of(field):
    return is_dataclass(field.type) and "registry" not in field.metadata


@pytest.mark.parametrize(
    ("kind", "name"), [("data", "folder"), ("adapters", "lora"), ("models", "point_mae"), ("runs", "cls")]
)
def test_what_is_listed_as_a_default_is_one_when_it_is_given(said, kind, name):
    key = KINDS[kind].key
    chosen = [f"{key}={name}"] if key else []
    given = [f"{own}={value}" for own, value in keys(said(kind, name)).items() if value != "null"]
    assert to_dict(load_config(ClassificationRun, overrides=[*chosen, *given])) == to_dict(
        load_config(ClassificationRun, overrides=chosen)
    )


def test_a_kind_is_listed_with_a_sentence_for_each(said):
    assert "adapters\n  adaptation methods\n" in said()
    assert "folder\n  Your own files, one folder a class, in any mixture of formats.\n" in said("data")
    assert "clora\n  CLoRA (2512.24603): W + s sum_h" in said("adapters")
    assert said("models", "point_*").splitlines()[::2][:2] == ["point_bert", "point_mae"] or "point_mae_tiny" in said(
        "models"
    )
    for kind in KINDS:
        text = said(kind)
        assert max(map(len, text.splitlines())) <= 80
        assert {line for line in text.splitlines() if line[:1].strip()} >= set(KINDS[kind].names("*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["adaptors"], "pcclora list adaptors: no such kind; did you mean 'adapters'"),
        (["adapters", "lorra"], "unknown adapter 'lorra'; did you mean 'lora'"),
        (["runs", "partsegs"], "unknown run 'partsegs'; did you mean 'partseg'"),
    ],
)
def test_what_is_unknown_is_named(said, words, message):
    with pytest.raises(PccloraError, match=message):
        said(*words)
