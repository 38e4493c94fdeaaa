from dataclasses import dataclass

import pytest

from pcclora.errors import PccloraError
from pcclora.registry import Registry, load_plugin


@dataclass
class CubeConfig:
    size: int = 1


@dataclass
class BallConfig:
    size: int = 1


@pytest.fixture
def shapes() -> Registry[tuple[int, str]]:
    registry: Registry[tuple[int, str]] = Registry("shape")

    @registry.register("cube", config=CubeConfig)
    def cube(config: CubeConfig, *, colour: str) -> tuple[int, str]:
        return config.size, colour

    return registry


def test_a_config_knows_its_name_and_builds_its_component(shapes):
    assert shapes.name_of(CubeConfig()) == "cube"
    assert shapes.build(CubeConfig(size=3), colour="red") == (3, "red")


def test_unknown_names_get_the_nearest(shapes):
    with pytest.raises(PccloraError, match="unknown shape 'cubee'; did you mean 'cube'"):
        shapes.get("cubee")
    with pytest.raises(PccloraError, match="BallConfig is not the config of a registered shape"):
        shapes.name_of(BallConfig())


@pytest.mark.parametrize(("name", "config"), [("cube", BallConfig), ("ball", CubeConfig)])
def test_names_and_config_classes_are_unique(shapes, name, config):
    with pytest.raises(PccloraError, match="'cube' has this name or config class already"):
        shapes.register(name, config=config)(lambda config: None)


def test_a_config_inherits_what_is_asked_of_its_kind(shapes):
    shapes.configs = CubeConfig
    with pytest.raises(PccloraError, match="shape 'ball': its config BallConfig must inherit .*CubeConfig"):
        shapes.register("ball", config=BallConfig)(lambda config: None)


def test_names_match_shell_patterns(shapes):
    shapes.register("ball", config=BallConfig)(lambda config: None)
    assert shapes.names() == ["ball", "cube"]
    assert shapes.names("c*") == ["cube"]


@dataclass
class PrismConfig:
    base: str
    height: int = 1


@pytest.fixture
def prisms(shapes):
    """The shapes, and a family of them; listing its members is noted."""
    listed = []
    members = lambda: listed.append(1) or ("square", "star")  # noqa: E731
    shapes.register("prism", config=PrismConfig, variant="base", variants=members)(lambda config: config)
    shapes.listed = listed
    return shapes


def test_a_family_is_one_entry_whose_member_is_a_field(prisms):
    entry = prisms.get("prism/square")
    config = entry.config(**entry.preset, height=2)
    assert config == PrismConfig("square", 2) and prisms.name_of(config) == "prism/square"
    assert prisms.build(config) is config
    assert prisms.get("prism/any.tag-1").preset == {"base": "any.tag-1"}


def test_a_familys_members_are_listed_only_where_they_are_asked_for(prisms):
    assert prisms.names() == prisms.names("*") == ["cube"] and not prisms.listed
    assert prisms.names("prism/s*") == ["prism/square", "prism/star"] and prisms.listed
    assert prisms.names("cube/*") == []


@pytest.mark.parametrize("name", ["prism", "prism/", "prismm"])
def test_a_family_alone_is_no_name(prisms, name):
    with pytest.raises(PccloraError, match=f"unknown shape '{name}'; did you mean 'prism/<base>'"):
        prisms.get(name)
    with pytest.raises(PccloraError, match="unknown shape 'cube/square'"):
        prisms.get("cube/square")


def test_plugin_registers_a_users_component(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from pcclora.data import DataConfig\n"
        "from pcclora.registry import DATASETS\n"
        "@dataclass\n"
        "class MineConfig(DataConfig):\n    size: int = 1\n"
        "DATASETS.register('mine_from_plugin', config=MineConfig)(lambda config, split: (config.size, split))\n"
    )
    load_plugin(plugin)
    from pcclora.registry import DATASETS

    assert DATASETS.build(DATASETS.get("mine_from_plugin").config(), split="train") == (1, "train")


@pytest.mark.parametrize(("text", "message"), [("1 / 0", "ZeroDivisionError"), ("def", "SyntaxError")])
def test_broken_plugin_is_named(tmp_path, text, message):
    plugin = tmp_path / "broken.py"
    plugin.write_text(text)
    with pytest.raises(PccloraError, match=message):
        load_plugin(plugin)
    with pytest.raises(PccloraError, match="no such file"):
        load_plugin(tmp_path / "absent.py")
