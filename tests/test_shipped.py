"""Configurations are found by name from anywhere, beside paths; cards too."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcclora.config import load_config
from pcclora.data.readers.files import where_to_get_it
from pcclora.errors import PccloraError
from pcclora.shipped import card, config_names, find_config, shipped
from pcclora.studies.comparison import Comparison
from pcclora.tasks.settings import ClassificationRun
from tests.tools.test_command import pcclora


def test_every_yaml_has_a_name(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    files = sorted(root.glob("configs/**/*.yaml"))
    assert sorted(find_config(name).resolve() for name in config_names()) == files and len(files) > 60


def test_no_file_names_another_by_where_a_checkout_has_it(root):
    for file in [*root.glob("configs/**/*.yaml"), *root.glob("pcclora/tools/**/*.py")]:
        assert "configs/" not in file.read_text() and "python tools/" not in file.read_text(), file


def test_a_file_that_is_there_comes_first(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    name = "cls/modelnet40/point_mae_clora"
    assert load_config(ClassificationRun, file=name).data.classes == 40
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("seed: 7\n")
    assert load_config(ClassificationRun, file=name).seed == 7


def test_a_comparison_works_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    comparison = load_config(Comparison, file="results/digits")
    assert all(comparison.run(name, []).task == "image" for name in comparison.settings)


@pytest.mark.parametrize(
    ("named", "nearest"),
    [
        ("cls/modelnet40/point_mae_clor", "cls/modelnet40/point_mae_clora"),
        ("cls/modelnet40/pointmae_clora", "cls/modelnet40/point_mae_clora"),
        ("configs/fewshot/relics.yaml", "fewshot/relics"),
        ("digits/vit_mini_clora", "image/digits/vit_mini_clora"),
    ],
)
def test_a_wrong_name_is_one_error_with_the_nearest(named, nearest, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert pcclora("train-cls", "--config", named, "--dry-run") == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {named}: no such file") and f"did you mean '{nearest}'" in err
    assert len(err.splitlines()) == 1 and len(err) < 400


@given(st.text(max_size=300))
def test_no_word_leads_outside(word):
    if not os.path.isfile(word) and word not in config_names():
        with pytest.raises(PccloraError, match="no configuration of this name"):
            find_config(word)


@pytest.mark.parametrize(
    "named", ["", ".", "..", "../configs/cls", "cls/../cls/procedural/point_mae_tiny_clora", "a" * 5000]
)
def test_what_is_no_name_is_refused(named):
    with pytest.raises(PccloraError, match="no configuration of this name"):
        find_config(named)


def test_a_copy_is_the_file_and_never_overwrites(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    original = (shipped("configs") / "fewshot" / "relics.yaml").read_bytes()
    assert pcclora("configs", "--copy", "fewshot/relics") == 0
    assert (tmp_path / "relics.yaml").read_bytes() == original
    (tmp_path / "relics.yaml").write_text("seed: 1\n")
    assert pcclora("configs", "--copy", "fewshot/relics") == 2
    assert (tmp_path / "relics.yaml").read_text() == "seed: 1\n"
    assert pcclora("configs", "--copy", "fewshot/relics", "--output", "mine.yaml") == 0
    assert pcclora("configs", "--copy", "fewshot/relcs") == 2
    assert pcclora("configs", "--copy", "mine.yaml", "--output", "b.yaml") == 2
    (tmp_path / "link.yaml").symlink_to("nowhere")
    assert pcclora("configs", "--copy", "fewshot/relics", "--output", "link.yaml") == 2
    assert pcclora("configs", "--copy", "fewshot/relics", "--output", "no/folder.yaml") == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.yaml", "mine.yaml", "relics.yaml"]
    err = capsys.readouterr().err
    assert err.count("error: ") == len(err.splitlines()) == 5


def test_the_list_is_every_name(capsys):
    assert pcclora("configs") == 0
    assert capsys.readouterr().out.split() == config_names()


def test_a_card_says_where_to_get_the_data():
    assert card("modelnet40").is_file()
    assert "Pointcept/modelnet40" in where_to_get_it("modelnet40")
