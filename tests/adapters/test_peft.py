"""Against Hugging Face peft itself: folders written here load there, folders written there load here."""

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pcclora import adapters as ad
from pcclora.errors import PccloraError
from tests.adapters.backbones import BACKBONES, bare_vit, fused_vit

peft = pytest.importorskip("peft", reason="peft is not installed (pip install pcclora[peft])")

WHOLE = {
    "mlp": {"target_modules": ["fc1", "fc2"], "modules_to_save": ["head"]},
    "fused_vit": {"target_modules": ["blocks.0.attn.qkv", "blocks.1.attn.proj", "blocks.1.mlp.fc1"]},
    "timm_vit": {"target_modules": ["blocks.0.attn.qkv", "blocks.1.attn.proj"], "modules_to_save": ["head"]},
    "timm_split_vit": {"target_modules": ["blocks.0.attn.q_proj", "blocks.1.attn.v_proj"], "modules_to_save": ["head"]},
}
EXPORTED = {
    "lora_slices": ad.LoRAConfig(r=2, lora_alpha=3, modules_to_save=("head",)),
    "lora_ranges": ad.LoRAConfig(r=3, target_modules=("blocks.*.mlp.fc2[2:5,9:16]",), modules_to_save=("head",)),
    "lora_rs": ad.LoRAConfig(r=3, lora_alpha=5, use_rslora=True, modules_to_save=("head",)),
    "lora_plus": ad.LoRAConfig(r=3, loraplus_lr_ratio=16.0, modules_to_save=("head",)),
    "lora_pissa": ad.LoRAConfig(r=3, lora_alpha=5, init="pissa", modules_to_save=("head",)),
    "lora_pissa_rs": ad.LoRAConfig(r=3, lora_alpha=5, init="pissa", use_rslora=True, modules_to_save=("head",)),
    "lora_xs": ad.LoRAXSConfig(r=3, lora_alpha=5, modules_to_save=("head",)),
    "moslora": ad.MoSLoRAConfig(r=3, use_rslora=True, modules_to_save=("head",)),
    "vera": ad.VeRAConfig(r=6, modules_to_save=("head",)),
    "fact_tt": ad.FacTTTConfig(r=3, scale=0.5, modules_to_save=("head",)),
    "fact_tk": ad.FacTTKConfig(r=3, modules_to_save=("head",)),
    "clora_role": ad.CLoRAConfig(r=2, bases=2, share="role", modules_to_save=("head",)),
    "clora": ad.CLoRAConfig(r=2, bases=3, scale=0.7, modules_to_save=("head",)),
    "clora_shared": ad.CLoRAConfig(r=2, bases=2, share_cores=True, modules_to_save=()),
    "clora_input": ad.CLoRAConfig(r=2, bases=2, placement="input", modules_to_save=("head",)),
    "clora_mixed": ad.CLoRAConfig(
        r=2,
        target_modules=("blocks.*.attn.qkv[v]", "blocks.*.mlp.fc1", "blocks.*.mlp.fc2", "blocks.0.attn.qkv[0:3]"),
        modules_to_save=(),
    ),
}


def shake(tensors):
    """Give tensors, as training would, other values."""
    generator = torch.Generator().manual_seed(3)
    for tensor in tensors:
        if tensor.is_floating_point():
            tensor.data.add_(torch.rand(tensor.shape, generator=generator) * 0.1)


def trained(backbone, config):
    model, x = BACKBONES[backbone]()
    ad.attach(model, config)
    shake(ad.adapter_tensors(model).values())
    return model.eval(), x


def in_peft(backbone, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # peft only warns of tensors that it does not find
        model = bare_vit() if backbone == "timm_vit" else BACKBONES[backbone]()[0]
        return peft.PeftModel.from_pretrained(model, folder).eval()


def written_by_peft(folder, backbone, **options):
    model, x = BACKBONES[backbone]()
    theirs = peft.get_peft_model(model, peft.LoraConfig(**options))
    shake(peft.get_peft_model_state_dict(theirs).values())
    theirs.eval().save_pretrained(folder)
    return theirs, x


PATTERNS = {"rank_pattern": {".*1.*": 5}, "alpha_pattern": {"0.attn.*|fc1": 2.5}}


@pytest.mark.parametrize(
    ("kind", "variant"),
    [(ad.LoRAConfig, {}), (ad.LoRAConfig, {"use_rslora": True}), (ad.DoRAConfig, {}), (ad.LoRAConfig, PATTERNS)],
)
@pytest.mark.parametrize("backbone", WHOLE)
def test_lora_on_whole_maps_loads_in_peft_with_no_difference(backbone, kind, variant, tmp_path):
    options = WHOLE[backbone] | {"modules_to_save": WHOLE[backbone].get("modules_to_save", [])} | variant
    model, x = trained(backbone, kind(r=3, lora_alpha=7, **options))
    ad.save_adapter(model, tmp_path)
    names = load_file(tmp_path / "adapter_model.safetensors")
    assert all(name.startswith("base_model.model.") for name in names)
    assert torch.equal(in_peft(backbone, tmp_path)(x), model(x))
    fresh, _ = BACKBONES[backbone]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has a fingerprint
        ad.load_adapter(fresh, tmp_path)
    assert torch.equal(fresh(x), model(x))


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("backbone", WHOLE)
def test_a_folder_written_by_peft_loads_with_no_difference_and_one_warning(backbone, dora, tmp_path):
    theirs, x = written_by_peft(tmp_path, backbone, r=3, lora_alpha=7, use_dora=dora, **WHOLE[backbone])
    model, _ = BACKBONES[backbone]()
    with pytest.warns(UserWarning) as caught:
        adapter = ad.load_adapter(model, tmp_path)
    assert [str(w.message).partition(" has ")[2][:15] for w in caught] == ["no fingerprint:"]
    assert caught[0].filename == __file__
    assert torch.equal(model.eval()(x), theirs(x))
    assert type(adapter.config) is (ad.DoRAConfig if dora else ad.LoRAConfig)
    assert adapter.config.r == 3 and adapter.modules_to_save == tuple(
        name for name, _ in model.named_modules() if name in WHOLE[backbone].get("modules_to_save", [])
    )


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["qkv", "fc1"]},
        {"target_modules": r"blocks\.\d\.(attn\.proj|mlp\.fc2)"},
        {"target_modules": "all-linear", "modules_to_save": ["head"]},
        {"target_modules": ["proj", "qkv"], "exclude_modules": ["0.attn.qkv"]},
        {"target_modules": ["proj"], "init_lora_weights": "gaussian", "lora_dropout": 0.3, "lora_alpha": 3},
        {"target_modules": ["proj"], "use_rslora": True, "r": 3, "lora_alpha": 5},
        {"target_modules": ["proj", "qkv"], "rank_pattern": {"0.attn.qkv": 3, "qkv": 2}, "alpha_pattern": {"proj": 3}},
        {
            "target_modules": ["proj", "qkv"],
            "rank_pattern": {r"blocks\.1\..*": 3},
            "use_rslora": True,
            "use_dora": True,
        },
        {"target_modules": ["proj", "fc1"], "use_rslora": True, "use_dora": True, "r": 3, "lora_alpha": 5},
    ],
)
def test_the_ways_in_which_peft_names_modules_are_read(options, tmp_path):
    theirs, x = written_by_peft(tmp_path, "fused_vit", **options)
    model, _ = fused_vit()
    with pytest.warns(UserWarning, match="no fingerprint"):
        ad.load_adapter(model, tmp_path)
    assert torch.equal(model.eval()(x), theirs(x))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"use_dora": True, "bias": "lora_only"}, "bias = 'lora_only'"),
    ],
)
def test_what_only_peft_can_do_is_refused(options, name, tmp_path):
    written_by_peft(tmp_path, "fused_vit", target_modules=["qkv", "proj"], **options)
    with pytest.raises(PccloraError, match="only peft can do it; merge it there") as caught:
        ad.load_adapter(fused_vit()[0], tmp_path)
    assert name in str(caught.value)


def test_pissa_is_that_of_peft_up_to_rounding():
    options = {"r": 3, "lora_alpha": 5, "target_modules": ["blocks.0.attn.qkv", "blocks.1.attn.proj"]}
    base, x = fused_vit()
    theirs = peft.get_peft_model(fused_vit()[0], peft.LoraConfig(init_lora_weights="pissa", **options)).eval()
    model, _ = fused_vit()
    adapter = ad.attach(model, ad.LoRAConfig(init="pissa", modules_to_save=(), **options))
    assert torch.equal(model(x), base(x))
    assert 0 < (theirs(x) - base(x)).abs().max() <= 2e-5
    state = peft.get_peft_model_state_dict(theirs)
    shake(state.values())
    for factor in "AB":
        for group, name in (("16x48", "blocks.0.attn.qkv"), ("16x16", "blocks.1.attn.proj")):
            tensor = state[f"base_model.model.{name}.lora_{factor}.weight"]
            adapter.groups[group].get_parameter(factor).data.copy_(tensor[None])
    assert (model(x) - base(x)).abs().max() > 0.01
    assert (model(x) - theirs(x)).abs().max() <= 2e-5


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("IA3", peft.IA3Config(target_modules=["proj"], feedforward_modules=[])),
        ("VERA", peft.VeraConfig(target_modules=["proj"], r=4)),  # its matrices are drawn by another generator
    ],
)
def test_other_methods_of_peft_are_refused(kind, config, tmp_path):
    peft.get_peft_model(fused_vit()[0], config).save_pretrained(tmp_path)
    with pytest.raises(PccloraError, match=f"peft_type is {kind}; of peft's methods only LORA is read here"):
        ad.load_adapter(fused_vit()[0], tmp_path)


def test_a_map_without_tensors_is_missed_without_a_checksum_too(tmp_path):
    written_by_peft(tmp_path, "fused_vit", target_modules=["qkv"])
    file = tmp_path / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if ".0." not in k}, file)
    model, _ = fused_vit()
    with pytest.raises(PccloraError, match=r"missing 'base_model.model.blocks.0.attn.qkv.lora_A.weight'"):
        ad.load_adapter(model, tmp_path)
    assert not hasattr(model, "adapters")


def test_targets_that_are_not_in_the_model_are_refused(tmp_path):
    written_by_peft(tmp_path, "fused_vit", target_modules=["qkv"])
    with pytest.raises(PccloraError, match=r"target_modules \['qkv'\] match nothing in this model"):
        ad.load_adapter(BACKBONES["mlp"]()[0], tmp_path)


@pytest.mark.parametrize("values", [{"target_modules": "blocks.("}, {"target_modules": 1}, {"modules_to_save": [None]}])
def test_names_that_cannot_be_read_are_refused(values, tmp_path):
    written_by_peft(tmp_path, "fused_vit", target_modules=["qkv"])
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(PccloraError, match=r"adapter_config\.json: target_modules"):
        ad.load_adapter(fused_vit()[0], tmp_path)


@pytest.mark.parametrize("backbone", ["fused_vit", "timm_vit"])
@pytest.mark.parametrize("method", EXPORTED)
def test_an_exported_adapter_does_the_same_in_peft(method, backbone, tmp_path):
    model, x = trained(backbone, EXPORTED[method])
    ad.export_peft(model, tmp_path)
    expected, base = model(x), BACKBONES[backbone]()[0](x)
    found = in_peft(backbone, tmp_path)(x)
    assert (expected - base).abs().max() > 1e-3
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    assert set(values["target_modules"]) == model.adapters["default"].acts_on


def test_an_export_has_the_rank_of_the_bases_and_the_scale_of_the_adapter(tmp_path):
    model, _ = trained("fused_vit", EXPORTED["clora"])
    ad.export_peft(model, tmp_path)
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    assert values["r"] == 6 and values["lora_alpha"] / values["r"] == pytest.approx(0.7)
    assert "rank_pattern" not in values  # q, k and v share what they read, so qkv needs no more than proj


@pytest.mark.parametrize("method", ["clora", "clora_mixed"])
def test_an_export_loads_here_too(method, tmp_path):
    model, x = trained("fused_vit", EXPORTED[method])
    ad.export_peft(model, tmp_path)
    fresh, _ = fused_vit()
    assert isinstance(ad.load_adapter(fresh, tmp_path), ad.LoRA)
    assert (fresh(x) - model(x)).abs().max() <= 1e-6 * model(x).abs().max()


def test_a_merged_adapter_is_exported_from_the_original_weights(tmp_path):
    model, x = trained("fused_vit", EXPORTED["clora_input"])
    expected = model(x)
    ad.merge(model)
    ad.export_peft(model, tmp_path)
    assert (in_peft("fused_vit", tmp_path)(x) - expected).abs().max() <= 1e-6 * expected.abs().max()


class Nested(nn.Module):
    """Names of which one is an ending of the other, at which peft would adapt both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.ModuleDict({"fc": nn.Linear(4, 4), "head": nn.Linear(4, 4)})
        self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.head(self.fc(self.inner["head"](self.inner["fc"](x))))


def test_a_name_that_is_an_ending_of_another_is_kept_apart(tmp_path):
    model = Nested()
    ad.attach(model, ad.LoRAConfig(target_modules=("fc",)))
    shake(ad.adapter_tensors(model).values())
    ad.save_adapter(model, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["exclude_modules"] == ["inner.fc"]
    x, fresh = torch.randn(3, 4), Nested()
    ad.load_adapter(fresh, tmp_path)
    theirs = peft.PeftModel.from_pretrained(Nested(), tmp_path)
    assert torch.equal(fresh(x), model(x)) and torch.equal(theirs(x), model(x))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ad.LoRAConfig(), "cannot hold the bare parameter 'cls_token'; attach with other modules_to_save, or merge"),
        (ad.CLoRAConfig(modules_to_save=("head.1.bias",)), "cannot hold the bare parameter 'head.1.bias'"),
        (ad.BitFitConfig(), "BitFitConfig is no low-rank method, .*'cls_token'"),
        (ad.FullConfig(), "FullConfig is no low-rank method"),
        (ad.DoRAConfig(modules_to_save=("head",)), "DoRA cannot be written as plain LoRA; use save_adapter, or merge"),
    ],
)
def test_what_peft_cannot_hold_is_not_exported(config, message, tmp_path):
    model, _ = trained("fused_vit", config)
    with pytest.raises(PccloraError, match=message):
        ad.export_peft(model, tmp_path / "peft")
    assert not (tmp_path / "peft").exists()


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ("head", "peft would save 'inner.head' too, since its name ends like"),
        ("inner", "does not save a ModuleDict"),
    ],
)
def test_what_peft_would_mistake_is_not_exported_but_saved_under_our_names(saved, message, tmp_path):
    model = Nested()
    ad.attach(model, ad.LoRAConfig(target_modules=("fc",), modules_to_save=(saved,)))
    shake(ad.adapter_tensors(model).values())
    with pytest.raises(PccloraError, match=message):
        ad.export_peft(model, tmp_path)
    ad.save_adapter(model, tmp_path)
    x, fresh = torch.randn(3, 4), Nested()
    ad.load_adapter(fresh, tmp_path)
    assert torch.equal(fresh(x), model(x))
