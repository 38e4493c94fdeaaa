from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcclora.config import component, load_config, to_dict, to_yaml
from pcclora.errors import PccloraError
from pcclora.registry import Registry

METHODS: Registry[Any] = Registry("method")


@dataclass
class SharedConfig:
    r: int = 8
    form: Literal["frobenius", "cosine"] = "frobenius"
    targets: tuple[str, ...] = ()
    names: list[str] | None = None

    def __post_init__(self) -> None:
        if self.r < 1:
            raise PccloraError(f"r = {self.r}: at least 1")


@dataclass
class PrivateConfig:
    alpha: float = 1.0


METHODS.register("shared", config=SharedConfig)(lambda config: config)
METHODS.register("private", config=PrivateConfig)(lambda config: config)


@dataclass
class Schedule:
    lr: float = 1e-3
    epochs: int = 10


@dataclass
class Run:
    method: Any = component(METHODS, "shared")
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0
    output: str | None = None


def test_defaults_file_and_overrides_win_in_that_order(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("method: {name: shared, r: 4, targets: [a, b]}\nschedule: {lr: 1}\nseed: 3\n")
    run = load_config(Run, file=file, overrides=["method.r=2", "schedule.epochs=5"])
    assert run == Run(SharedConfig(r=2, targets=("a", "b")), Schedule(lr=1.0, epochs=5), seed=3)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["method=private"], PrivateConfig()),
        (["method=private", "method.alpha=2"], PrivateConfig(alpha=2.0)),
        (["method.name=private"], PrivateConfig()),
        (["method.names=[x]"], SharedConfig(names=["x"])),
    ],
)
def test_a_component_is_chosen_by_name(overrides, expected):
    assert load_config(Run, overrides=overrides).method == expected


def test_every_error_is_reported_at_once_with_the_nearest_name():
    with pytest.raises(PccloraError) as caught:
        load_config(Run, overrides=["metod.r=3", "schedule.lrr=1", "seed=x", "method.form=cosin", "plain"])
    message = str(caught.value)
    for part in ("did you mean 'method'", "did you mean 'lr'", "seed: Value 'x'", "method.form", "'plain'"):
        assert part in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.name=share", "did you mean 'shared'"),
        ("method.r=0", "method: r = 0: at least 1"),
        ("seed.x=1", "seed: Value"),
        ("schedule=3", "schedule: a section of keys is expected"),
        ("seed=1.5", "could not be converted to Integer"),
        ("seed=[", "'seed=\\['"),
    ],
)
def test_bad_values_are_named(override, message):
    with pytest.raises(PccloraError, match=message):
        load_config(Run, overrides=[override])


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "a: ${b", "\x00"])
def test_files_that_are_not_a_mapping_are_refused(tmp_path, text):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(PccloraError, match=r"bad\.yaml"):
        load_config(Run, file=file)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(PccloraError, match="absent.yaml: no such file"):
        load_config(Run, file=tmp_path / "absent.yaml")


@given(
    r=st.integers(1, 99),
    lr=st.floats(0, 1, allow_nan=False),
    targets=st.lists(st.text("abc*.[]q,0: '#", min_size=1), max_size=3),
    output=st.none() | st.text(st.characters(codec="ascii", categories=["L", "N", "P"])),
)
def test_what_is_written_reads_back_the_same(tmp_path_factory, r, lr, targets, output):
    run = Run(SharedConfig(r=r, targets=tuple(targets)), Schedule(lr=lr), output=output)
    file = tmp_path_factory.mktemp("config") / "run.yaml"
    file.write_text(to_yaml(run))
    assert load_config(Run, file=file) == run


def test_to_dict_names_components():
    assert to_dict(Run())["method"]["name"] == "shared"


@dataclass
class MemberConfig:
    kind: str
    r: int = 1


METHODS.register("family", config=MemberConfig, variant="kind")(lambda config: config)


@dataclass
class FamilyRun:
    method: Any = component(METHODS, "family/a")


def test_a_family_member_is_named_in_one_word_and_read_back(tmp_path):
    file = tmp_path / "run.yaml"
    assert FamilyRun() == FamilyRun(MemberConfig("a"))
    for overrides in (["method=family/b.x", "method.r=2"], ["method.name=family/b.x", "method.r=2"]):
        run = load_config(FamilyRun, overrides=overrides)
        assert run == FamilyRun(MemberConfig("b.x", r=2))
    assert to_dict(run) == {"method": {"name": "family/b.x", "r": 2}}
    file.write_text(to_yaml(run))
    assert load_config(FamilyRun, file=file) == run
    file.write_text("method: family/c")
    assert load_config(FamilyRun, file=file, overrides=["method.r=3"]) == FamilyRun(MemberConfig("c", r=3))


def test_a_family_member_is_named_once():
    with pytest.raises(PccloraError, match="method.kind: the name 'family/a' says it already; leave it out"):
        load_config(FamilyRun, overrides=["method.kind=b"])
    with pytest.raises(PccloraError, match=r"method.name: unknown method 'family'.*'family/<kind>'"):
        load_config(FamilyRun, overrides=["method=family"])
