from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcclora.config import component, load_config, read_yaml, to_dict, to_yaml, with_overrides
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
        (["method.alpha=2", "method=private"], PrivateConfig(alpha=2.0)),
        (["method.r=2", "method=private", "method=shared"], SharedConfig(r=2)),
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


def test_what_the_command_line_says_wrongly_is_not_laid_to_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("seed: 3\n")
    with pytest.raises(PccloraError, match=r"^command line: cannot be used:\n  schedule\.lrr: unknown key.*$"):
        load_config(Run, file=file, overrides=["schedule.lrr=1"])
    file.write_text("sed: 3\nseed: x\n")
    with pytest.raises(PccloraError) as caught:
        load_config(Run, file=file, overrides=["schedule.lrr=1", "plain", "seed=1"])
    of_file, given = str(caught.value).split("\ncommand line: cannot be used:\n  ")
    assert of_file.startswith(f"{file}: cannot be used:\n  sed: unknown key") and "seed: Value" not in of_file
    assert "'plain'" in given and "schedule.lrr" in given and "sed:" not in given


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


WORDS = [
    "007",
    "010",
    "on",
    "off",
    "yes",
    "no",
    "true",
    "1e3",
    "0x10",
    "1_0",
    "1:30",
    "null",
    "~",
    ".inf",
    "a",
]


@pytest.mark.parametrize("word", WORDS)
def test_a_name_stays_the_word_that_was_written(tmp_path, word):
    file = tmp_path / "run.yaml"
    file.write_text(f"name: {word}\nmethod: {{targets: [{word}], names: [{word}]}}\ngroups: {{{word}: [{word}]}}\n")
    expected = Named(word, SharedConfig(targets=(word,), names=[word]), {word: [word]})
    assert load_config(Named, file=file) == expected
    overrides = [f"name={word}", f"method.targets=[{word}]", f"method.names=[{word}]", f"groups={{{word}: [{word}]}}"]
    assert load_config(Named, overrides=overrides) == expected
    file.write_text(to_yaml(expected))
    assert load_config(Named, file=file) == expected
    assert with_overrides(expected, ["method.r=3"], source="test").name == word


@dataclass
class Named:
    name: str = ""
    method: Any = component(METHODS, "shared")
    groups: dict[str, list[str]] = field(default_factory=dict)


PATHS = [
    "a: b",
    "a #b",
    "[x]",
    "{x}",
    "*x",
    "&x",
    "!x",
    "%s",
    "@x",
    "`x`",
    ">x",
    "|",
    "-x",
    "x\ny",
    "\x1b[2J",
    "\udcff",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_on_the_command_line_may_hold_what_yaml_is_written_with(tmp_path, path):
    run = load_config(Run, overrides=[f"output={path}"])
    assert run.output == path
    (tmp_path / "run.yaml").write_text(to_yaml(run))
    assert load_config(Run, file=tmp_path / "run.yaml") == run


@pytest.mark.parametrize(("word", "output"), [("null", None), ("", None), ("'null'", "null"), ('"007"', "007")])
def test_nothing_is_nothing_where_nothing_may_be(word, output):
    assert load_config(Run, overrides=["output=before", f"output={word}"]).output == output


@pytest.mark.parametrize("value", [7, 0.5, 1e-3, 1e3, "5e-4", ".5", "1.5E2"])
def test_numbers_are_numbers(tmp_path, value):
    (tmp_path / "run.yaml").write_text(f"schedule: {{lr: {value}}}\n")
    for run in (load_config(Run, file=tmp_path / "run.yaml"), load_config(Run, overrides=[f"schedule.lr={value}"])):
        assert run.schedule.lr == float(value)


def test_both_readings_of_a_file(tmp_path):
    (tmp_path / "parts.yaml").write_text("010: [on, off, 'no', 007]\nnull: 1e3\n")
    assert read_yaml(tmp_path / "parts.yaml", words=True) == {"010": ["on", "off", "no", "007"], "null": "1e3"}
    assert read_yaml(tmp_path / "parts.yaml") == {"010": [True, False, "no", 7], "null": 1000.0}


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "too much"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: " + "[" * 20_000, "nested too deeply"),
        ("a: " + "[" * 60 + "]" * 60, "nested too deeply"),
        ("seed: 1\nschedule:\n  lr: 1\n  lr: 2\n", "line 4: 'lr' is there twice"),
        ("seed: !!python/object/apply:os.system [true]", "line 1: .*os.system': tags are not read"),
        ("seed: 1\n---\nseed: 2", "a single document"),
        ("[a]: b", "line 1: a key is one word"),
        ("a: b\n" * 250_000, "1,250,000 bytes"),
        (f"seed: {'9' * 5000}", "4300 digits"),
    ],
)
def test_a_file_that_nobody_would_write_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(PccloraError, match=rf"bad\.yaml: cannot be read as YAML: .*{message}"):
        load_config(Run, file=tmp_path / "bad.yaml")


def test_an_alias_that_multiplies_nothing_is_read(tmp_path):
    (tmp_path / "run.yaml").write_text("method: {targets: &a [x, y], names: *a}")
    assert load_config(Run, file=tmp_path / "run.yaml").method == SharedConfig(targets=("x", "y"), names=["x", "y"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"seed={2**70}", "seed is 118059162071... .22 digits.; 9223372036854775807 is the most"),
        (f"method.r={'1' * 400}", "method.r is 111111111111... .400 digits.; 20000000 is the most"),
        ("schedule.epochs=1000000000000", "schedule.epochs is 1000000000000; 20000000 is the most"),
        ("schedule.lr=.nan", "schedule.lr is nan; a finite number is needed"),
        ("schedule.lr=inf", "schedule.lr is inf; a finite number is needed"),
        (f"schedule.lr={'1' * 400}", "schedule.lr: int too large to convert to float"),
    ],
)
def test_a_size_that_nobody_means_is_refused_before_anything_is_made_of_it(override, message):
    with pytest.raises(PccloraError, match=message):
        load_config(Run, overrides=[override])


def test_a_seed_may_be_any_that_fits():
    assert load_config(Run, overrides=[f"seed={2**63 - 1}"]).seed == 2**63 - 1


def test_a_key_of_another_component_says_which_has_it():
    said = r"method\.r: unknown key here; did you mean method=family method\.r=\.\.\.\? \(shared has it too\)"
    with pytest.raises(PccloraError, match=said):
        load_config(Run, overrides=["method=private", "method.r=3"])
