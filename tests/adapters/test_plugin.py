"""The method in docs/adding_a_method.md is one file: what built-in ones are promised holds for it; nothing names it."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pcclora
from pcclora import PccloraError
from pcclora.adapters.files.folder import TENSORS
from pcclora.registry import ADAPTERS, load_plugin
from pcclora.runs.adapt import train as train_run
from pcclora.runs.report import adapter_of
from pcclora.tasks.registry import load_run_config
from tests.adapters.backbones import BACKBONES
from tests.adapters.cases import is_the_base, output, train

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_method.md"


@pytest.fixture
def gain(tmp_path):
    file = tmp_path / "gain.py"
    file.write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    load_plugin(file)
    return ADAPTERS.get("gain").config


@pytest.mark.parametrize("backbone", ["fused_vit", "point_mae_tiny", "timm_vit", "timm_split_vit"])
def test_it_keeps_what_every_method_keeps(gain, backbone, tmp_path):
    base, x = BACKBONES[backbone]()
    model, _ = BACKBONES[backbone]()
    adapter = pcclora.attach(model, gain(seed=3))
    assert torch.equal(output(model, x), output(base, x))
    train(model, adapter, x, steps=2)
    assert adapter.gain.detach().any() and not torch.equal(output(model, x), output(base, x))
    with pcclora.disabled(model):
        assert torch.equal(output(model, x), output(base, x))
    with pytest.raises(PccloraError, match="no weight of the model can take up what Gain does"):
        pcclora.merge(model)
    pcclora.save_adapter(model, tmp_path)
    fresh, _ = BACKBONES[backbone]()
    pcclora.load_adapter(fresh, tmp_path)
    assert torch.equal(output(fresh.eval(), x), output(model, x))
    assert fresh.adapters["default"].config == gain(seed=3, modules_to_save=adapter.modules_to_save)
    pcclora.detach(model)
    assert is_the_base(model, backbone)


def test_what_is_made_again_must_be_what_it_was(gain, tmp_path, monkeypatch):
    model, _ = BACKBONES["timm_vit"]()
    pcclora.attach(model, gain())
    pcclora.save_adapter(model, tmp_path)
    real = torch.randn  # a library whose random numbers are others
    monkeypatch.setattr(torch, "randn", lambda *size, **options: real(*size, **options).flip(0))
    fresh, _ = BACKBONES["timm_vit"]()
    with pytest.raises(PccloraError, match=rf"{TENSORS}: was trained with another 'direction', .* made again from"):
        pcclora.load_adapter(fresh, tmp_path)
    assert not hasattr(fresh, "adapters")


def test_a_model_without_its_places_is_named(gain):
    model, _ = BACKBONES["mlp"]()
    with pytest.raises(PccloraError, match="has no place 'mlp', where this method acts; it declares no places"):
        pcclora.attach(model, gain(modules_to_save=("head",)))


def test_tables_show_what_it_says(gain):
    assert adapter_of({"name": "gain", "seed": 3, "modules_to_save": None}) == "gain seed=3"
    assert adapter_of({"name": "of another machine", "power": 2}) == "of another machine power=2"


def test_the_tools_take_it(gain, tmp_path):
    tiny = Path(__file__).parents[1] / "tiny" / "cls.yaml"
    overrides = ["adapter=gain", "adapter.seed=3", "adapter.modules_to_save=[head]", "train.epochs=1"]
    run = train_run(load_run_config(tiny, overrides), tmp_path / "run")
    summary = run.read_summary()
    assert summary["adapter"] == {"name": "gain", "seed": 3, "modules_to_save": ["head"]}
    held = load_file(run.adapter / TENSORS)
    assert {name for name in held if not name.startswith("cls_head_finetune.")} == {"gain"}
