"""Saving and loading adapters: settings, names, several of them, and every folder that does not belong to the model."""

import json
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pcclora import adapters as ad
from pcclora.adapters.files.folder import CONFIG, TENSORS
from pcclora.errors import PccloraError
from tests.adapters.backbones import BACKBONES, fused_vit, mlp
from tests.adapters.files import (
    METHODS,
    assert_refused,
    assert_unchanged,
    moved,
    read,
    reconfigure,
    rewrite,
    saved,
    state_of,
    trained,
)


def test_the_settings_are_in_the_words_of_peft_with_every_pattern_resolved(tmp_path):
    saved(tmp_path)
    values = json.loads((tmp_path / CONFIG).read_text())
    assert values["peft_type"] == "CLORA" and values["base_model_name_or_path"] is None
    assert values["r"] == 2 and values["diversity"] == 1e-3
    assert values["target_modules"][:4] == [*(f"blocks.0.attn.qkv[{c}]" for c in "qkv"), "blocks.0.attn.proj"]
    assert values["modules_to_save"] == ["head", "cls_token"]


def test_settings_added_later_are_in_a_file_only_where_they_are_not_at_their_default(tmp_path):
    saved(tmp_path)
    common = {"peft_type", "base_model_name_or_path", "target_modules", "modules_to_save", "r"}
    clora = {"bases", "scale", "dropout", "diversity", "diversity_form", "placement", "share_cores"}
    assert json.loads((tmp_path / CONFIG).read_text()).keys() == common | clora  # as the first files have them
    assert set(json.loads(read(tmp_path)[1]["pcclora_config"])) == common | clora
    for options, more in (({}, set()), ({"init": "pissa"}, {"init"}), ({"use_rslora": True}, {"use_rslora"})):
        model, _ = fused_vit()
        ad.attach(model, ad.LoRAConfig(**options))
        ad.save_adapter(model, tmp_path)
        values = json.loads((tmp_path / CONFIG).read_text())
        assert values.keys() == common | {"lora_alpha", "lora_dropout"} | more
        ad.load_adapter(fused_vit()[0], tmp_path)


@pytest.mark.parametrize("method", ["clora", "clora_input", "clora_shared", "lora"])
def test_the_file_holds_each_trained_number_once_and_the_buffers(method, tmp_path):
    model, _ = saved(tmp_path, method)
    tensors, _ = read(tmp_path)
    buffers = model.adapters["default"].trained_buffers
    assert set(buffers) == {f"head.0.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    numbers = sum(tensor.numel() for key, tensor in tensors.items() if key not in buffers)
    assert numbers == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_an_adapter_is_loaded_into_one_of_the_same_settings(tmp_path):
    model, x = saved(tmp_path)
    expected = model(x)
    moved(model)
    adapter = model.adapters["default"]
    assert ad.load_adapter(model, tmp_path) is adapter
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ad.CLoRAConfig(r=4, bases=2), r"r is 2, adapter 'default' of the model has 4; detach it, or load under"),
        (ad.LoRAConfig(r=2), r"holds CLoRAConfig, adapter 'default' of the model has LoRAConfig; detach it"),
        (ad.CLoRAConfig(r=2, bases=2, target_modules=("blocks.*.attn.proj",)), r"target_modules is \[.*detach it"),
    ],
)
def test_an_adapter_of_other_settings_is_not_loaded_into(config, message, tmp_path):
    saved(tmp_path)
    model, _ = fused_vit()
    ad.attach(model, config)
    before = state_of(model)
    with pytest.raises(PccloraError, match=message):
        ad.load_adapter(model, tmp_path)
    assert_unchanged(model, before)


def test_one_of_several_adapters_is_saved_and_loaded_by_name(tmp_path):
    model, x = trained("clora")
    ad.attach(model, METHODS["lora"](), name="second")
    tensors = moved(model)
    model.eval()
    expected = model(x)
    ad.set_adapter(model, "default")
    ad.save_adapter(model, tmp_path, name="second")
    ad.load_adapter_tensors(model, {key: torch.zeros_like(t) for key, t in tensors.items()}, "second")
    ad.load_adapter(model, tmp_path, name="second")
    assert model.adapters.active == "second" and torch.equal(model(x), expected)
    fresh, _ = fused_vit()
    ad.attach(fresh, ad.LinearConfig())
    moved(fresh)
    ad.load_adapter(fresh, tmp_path, name="another")
    assert torch.equal(fresh.eval()(x), expected)


def test_a_refused_file_leaves_the_active_adapter_active(tmp_path):
    saved(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.pop("cls_token"))
    model, x = trained("lora")
    before, output = state_of(model), model(x)
    with pytest.raises(PccloraError, match="missing 'cls_token'"):
        ad.load_adapter(model, tmp_path, name="second")
    assert model.adapters.active == "default" and list(model.adapters) == ["default"]
    assert_unchanged(model, before)
    assert torch.equal(model(x), output)


def test_a_merged_adapter_is_saved_but_not_loaded_into(tmp_path):
    model, x = saved(tmp_path / "a")
    expected = model(x)
    ad.merge(model)
    ad.save_adapter(model, tmp_path / "b")
    with pytest.raises(PccloraError, match="unmerge"):
        ad.load_adapter(model, tmp_path / "a")
    with pytest.raises(PccloraError, match="unmerge"):
        ad.load_adapter(model, tmp_path / "a", name="second")
    fresh, _ = fused_vit()
    ad.load_adapter(fresh, tmp_path / "b")
    assert torch.equal(fresh(x), expected)


def forms(native, peft):
    """The same damage in a file of our names and in one of peft's."""
    return pytest.mark.parametrize(
        ("method", "backbone", "key"), [("clora", "fused_vit", native), ("lora", "mlp", peft)]
    )


both_forms = forms("groups.16x16.U", "base_model.model.fc1.lora_B.weight")


@both_forms
def test_a_wrong_rank_is_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    reconfigure(tmp_path, r=4)
    assert_refused(tmp_path, r"has shape .*another rank", backbone)
    if method == "lora":  # the same without a header
        save_file(read(tmp_path)[0], tmp_path / TENSORS)
        assert_refused(tmp_path, r"lora_[AB]\.weight' has shape .*another rank", backbone)


@both_forms
def test_a_config_that_was_edited_by_hand_is_said_and_does_not_count(method, backbone, key, tmp_path):
    model, x = saved(tmp_path, method, backbone)
    path = tmp_path / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 4}))
    fresh, _ = BACKBONES[backbone]()
    with pytest.warns(UserWarning, match=f"{CONFIG}: r is 4, but {TENSORS} was written with 2, which counts"):
        ad.load_adapter(fresh, tmp_path)
    assert torch.equal(fresh(x), model(x))
    ad.save_adapter(fresh, tmp_path)
    with warnings.catch_warnings(action="error"):
        ad.load_adapter(fresh, tmp_path)


@both_forms
def test_another_architecture_is_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    for other in BACKBONES.keys() - {backbone}:
        assert_refused(tmp_path, "matches nothing|match nothing|is no letter of|missing|other base weights", other)


def test_a_deeper_model_is_refused(tmp_path):
    saved(tmp_path, "full", "mlp")
    model = mlp()[0].append(nn.Linear(5, 5))
    with pytest.raises(PccloraError, match=r"missing '5.bias', '5.weight'; use .* the architecture"):
        ad.load_adapter(model, tmp_path)
    assert not hasattr(model, "adapters")


def test_an_unknown_setting_is_refused(tmp_path):
    saved(tmp_path)
    reconfigure(tmp_path, diversty=0.5)
    assert_refused(tmp_path, rf"{TENSORS}: cannot be used:\s+diversty: unknown key; did you mean 'diversity'")


def test_an_unknown_setting_is_refused_in_the_form_of_peft(tmp_path):
    saved(tmp_path, "lora", "mlp")
    reconfigure(tmp_path, rank=4)
    assert_refused(tmp_path, f"{TENSORS}: rank = 4 is unknown here", "mlp")
    save_file(read(tmp_path)[0], tmp_path / TENSORS)
    assert_refused(tmp_path, f"{CONFIG}: rank = 4 is unknown here", "mlp")


def test_an_unknown_method_is_refused(tmp_path):
    saved(tmp_path)
    reconfigure(tmp_path, peft_type="CLORRA")
    assert_refused(tmp_path, f"{TENSORS}: peft_type CLORRA: unknown adapter 'clorra'; did you mean 'clora'")


def test_safetensors_of_another_program_are_refused(tmp_path):
    saved(tmp_path)
    save_file(read(tmp_path)[0], tmp_path / TENSORS)
    assert_refused(tmp_path, "written neither by save_adapter nor by peft")


def test_an_adapter_trained_in_double_precision_loads_in_single(tmp_path):
    model, x = trained()
    ad.save_adapter(model.double(), tmp_path)
    fresh, _ = fused_vit()
    ad.load_adapter(fresh, tmp_path)
    assert torch.equal(fresh(x), model.float()(x))
