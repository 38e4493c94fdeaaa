"""Weights of vision transformers: every form of file gives timm's reading of it; what does not fit changes nothing."""

import re

import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

import pcclora
from pcclora.errors import PccloraError
from pcclora.models import create_model, load_checkpoint

NAME = "timm/vit_tiny_patch16_224"
TINY = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 3}


def make(name=NAME, **options):
    return create_model(name, **{"num_classes": 5, **TINY, **options})


def random_state(**options):
    """A state dict of random numbers."""
    torch.manual_seed(1)
    return {key: torch.randn(value.shape) for key, value in make(**options).state_dict().items()}


def to_npz(state, heads=3, pre_logits=False):
    """The arrays of an original ViT file: every name and every shape as in ``ViT-B_16.npz``."""
    state = {key: value.numpy() for key, value in state.items()}
    C = state["cls_token"].shape[-1]
    arrays = {
        "cls": state["cls_token"],
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": state["head.weight"].T,
        "head/bias": state["head.bias"],
    }
    if pre_logits:
        arrays |= {"pre_logits/kernel": np.ones((C, C), "f4"), "pre_logits/bias": np.ones(C, "f4")}
    for i in range(2):
        here, there = f"blocks.{i}", f"Transformer/encoderblock_{i}"
        attention = f"{there}/MultiHeadDotProductAttention_1"
        for n, part in enumerate(("query", "key", "value")):
            rows = slice(n * C, (n + 1) * C)
            arrays[f"{attention}/{part}/kernel"] = state[f"{here}.attn.qkv.weight"][rows].T.reshape(C, heads, -1)
            arrays[f"{attention}/{part}/bias"] = state[f"{here}.attn.qkv.bias"][rows].reshape(heads, -1)
        arrays[f"{attention}/out/kernel"] = state[f"{here}.attn.proj.weight"].T.reshape(heads, -1, C)
        arrays[f"{attention}/out/bias"] = state[f"{here}.attn.proj.bias"]
        for n in (1, 2):
            arrays[f"{there}/MlpBlock_3/Dense_{n - 1}/kernel"] = state[f"{here}.mlp.fc{n}.weight"].T
            arrays[f"{there}/MlpBlock_3/Dense_{n - 1}/bias"] = state[f"{here}.mlp.fc{n}.bias"]
        for norm, layer in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            arrays[f"{there}/{layer}/scale"] = state[f"{here}.{norm}.weight"]
            arrays[f"{there}/{layer}/bias"] = state[f"{here}.{norm}.bias"]
    return arrays


def same(model, state):
    own = model.state_dict()
    return set(own) == set(state) and all(torch.equal(own[key], value) for key, value in state.items())


FORMS = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "epoch": 3},
    "parallel": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    "average": lambda state: {"state_dict": {key: 0 * value for key, value in state.items()}, "state_dict_ema": state},
    "lightning": lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
    "dino": lambda state: {"student": {}, "teacher": {f"module.backbone.{key}": value for key, value in state.items()}},
    "run": lambda state: {f"base_model.model.{key}": value for key, value in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [NAME, "timm/deit_tiny_distilled_patch16_224", "vit_mini"])
def test_all_forms_give_the_same_weights(name, form, tmp_path):
    state, model = random_state(name=name), make(name)
    torch.save(FORMS[form](state), tmp_path / "file.bin")
    report = load_checkpoint(model, tmp_path / "file.bin")
    assert same(model, state) and report.head_loaded and not report.missing and not report.notes


def test_safetensors_and_a_run_that_trained_everything(tmp_path):
    state, model = random_state(), make()
    save_file(state, tmp_path / "file.safetensors")
    load_checkpoint(model, tmp_path / "file.safetensors")
    assert same(model, state)
    pcclora.attach(model, pcclora.adapters.FullConfig())
    pcclora.save_adapter(model, tmp_path / "adapter")
    fresh = make()
    load_checkpoint(fresh, tmp_path / "adapter" / "adapter_model.safetensors")
    assert same(fresh, state)


@pytest.mark.parametrize("pre_logits", [False, True], ids=["augreg", "original"])
@pytest.mark.parametrize("num_classes", [5, 7])
def test_npz_equals_timms_own_reading(pre_logits, num_classes, tmp_path):
    file = tmp_path / "ViT.npz"
    np.savez(file, **to_npz(random_state(), pre_logits=pre_logits))
    torch.manual_seed(0)
    model = make(num_classes=num_classes)
    torch.manual_seed(0)
    twin = timm.create_model("vit_tiny_patch16_224", num_classes=num_classes, **TINY)
    twin.load_pretrained(str(file))
    report = load_checkpoint(model, file)
    assert same(model, twin.state_dict())
    assert report.head_loaded == (num_classes == 5)
    assert pre_logits == ("not part of this model: pre_logits.* (2)" in str(report))
    assert (num_classes == 7) == ("head dropped: 5 classes, this model has 7" in str(report))


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_position_embeddings_of_another_grid_are_resampled_and_reported(form, tmp_path):
    state, model, file = random_state(), make(img_size=64), tmp_path / f"file.{form}"
    np.savez(file, **to_npz(state)) if form == "npz" else save_file(state, file)
    report = load_checkpoint(model, file)
    expected = resample_abs_pos_embed(state["pos_embed"], [4, 4])
    assert torch.equal(model.pos_embed, expected)
    assert "pos_embed fitted from (1, 5, 24) to (1, 17, 24)" in str(report)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if key != "pos_embed")


def test_a_masked_autoencoders_file_gives_its_encoder(tmp_path):
    state = {key: value for key, value in random_state().items() if not key.startswith("head")}
    rest = {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_embed.weight": torch.zeros(8, 24),
        "decoder_norm.bias": torch.zeros(8),
    }
    torch.save({"model": state | rest}, tmp_path / "file.pth")
    model = make()
    report = load_checkpoint(model, tmp_path / "file.pth")
    assert not report.head_loaded and set(report.missing) == {"head.weight", "head.bias"}
    assert "not part of this model: " in str(report) and same(model, model.state_dict() | state)


def as_dinov2(state):
    """DINOv2's own form: a mask token, and for register tokens a position of the class token."""
    state = {key: value for key, value in state.items() if not key.startswith("head")}
    if "reg_token" in state:
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([torch.zeros_like(state["cls_token"]), state["pos_embed"]], dim=1)
    return state | {"mask_token": torch.zeros(1, 24)}


def as_deit3(state):
    return {re.sub(r"ls(\d)\.gamma", r"gamma_\1", key): value for key, value in state.items()}


@pytest.mark.parametrize(
    ("architecture", "written"),
    [
        ("vit_small_patch14_dinov2", as_dinov2),
        ("vit_small_patch14_reg4_dinov2", as_dinov2),
        ("deit3_small_patch16_224", as_deit3),
    ],
)
def test_the_papers_own_files_are_read(architecture, written, tmp_path):
    options = {"name": f"timm/{architecture}", "img_size": 28 if "14" in architecture else 32}
    state, model = random_state(**options), make(**options)
    torch.save({"model": written(state)}, tmp_path / "file.pth")
    load_checkpoint(model, tmp_path / "file.pth")
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if "head" not in key)


def without(*keys):
    return lambda state: {key: value for key, value in state.items() if not key.startswith(keys)}


def with_nan(state):
    return state | {"blocks.1.mlp.fc2.bias": torch.full((24,), torch.nan)}


@pytest.mark.parametrize(
    ("there", "change", "message"),
    [
        ({"embed_dim": 48}, dict, r"'patch_embed.proj.weight' is \(48, 3, 16, 16\).*has \(24, 3, 16, 16\)"),
        ({"patch_size": 8}, dict, r"'patch_embed.proj.weight' is \(24, 3, 8, 8\)"),
        ({"depth": 3}, dict, r"blocks.\*.norm1.* which this model has not"),
        ({"depth": 1}, dict, r"blocks.\*.norm1.* are not in the file"),
        ({"name": "timm/deit_tiny_distilled_patch16_224"}, dict, "not of the architecture of model 'timm/vit_tiny"),
        ({"name": "timm/vit_small_patch14_reg4_dinov2", "patch_size": 16}, dict, "not of the architecture"),
        ({}, without("norm."), r"norm.\* \(2\), which it needs, are not in the file"),
        ({}, without("head.bias"), "head, which it needs, are not in the file"),
        ({}, without("patch_embed", "pos_embed", "blocks", "norm", "cls"), "which it needs"),
        ({}, with_nan, "'blocks.1.mlp.fc2.bias' holds NaN"),
        ({}, lambda state: {"conv1.weight": torch.zeros(64, 3, 7, 7)}, "conv1, which this model has not"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(there, change, message, tmp_path):
    torch.save(change(random_state(**there)), tmp_path / "file.pth")
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(PccloraError, match=message) as error:
        load_checkpoint(model, tmp_path / "file.pth")
    assert "file.pth" in str(error.value) and same(model, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("cls"), "no 'cls' in it"),
        (without("Transformer/encoderblock_1/MlpBlock_3/Dense_0/bias"), "no 'Transformer/encoderblock_1/MlpBlock_3"),
        (
            lambda arrays: arrays | {"conv_root/kernel": np.zeros((7, 7, 3, 64), "f4")},
            "conv_root/kernel are not of a ViT",
        ),
        (without("embedding/kernel"), "which this model has not"),
    ],
)
def test_other_npz_files_are_refused(change, message, tmp_path):
    np.savez(tmp_path / "file.npz", **change(to_npz(random_state())))
    with pytest.raises(PccloraError, match=message):
        load_checkpoint(make(), tmp_path / "file.npz")


def test_damaged_npz(tmp_path):
    np.savez(tmp_path / "file.npz", a=np.arange(100.0), b=np.array({"x": 1}, dtype=object))
    with pytest.raises(PccloraError, match=r"file.npz: a damaged or truncated .npz file \(Object arrays"):
        load_checkpoint(make(), tmp_path / "file.npz")
    content = (tmp_path / "file.npz").read_bytes()
    (tmp_path / "file.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(PccloraError, match="a damaged or truncated .npz file"):
        load_checkpoint(make(), tmp_path / "file.npz")


def test_timms_own_weights_are_loaded_as_timm_loads_them(monkeypatch, tmp_path):
    """The hub is a folder here; timm reads the same file itself."""
    state, asked = random_state(num_classes=1000, img_size=64), []
    save_file(state, tmp_path / "model.safetensors")

    def download(repository, file, revision):
        asked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    model = create_model(NAME, num_classes=5, pretrained=True, **TINY)
    overlay = {"file": str(tmp_path / "model.safetensors"), "custom_load": False}
    twin = timm.create_model(
        "vit_tiny_patch16_224", num_classes=5, pretrained=True, pretrained_cfg_overlay=overlay, **TINY
    )
    twin.head.load_state_dict(model.head.state_dict())  # it is new in both
    assert same(model, twin.state_dict())
    assert asked == [("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", "model.safetensors")]


def test_a_repository_without_safetensors_gives_its_bin(monkeypatch, tmp_path):
    state = random_state(num_classes=1000)
    torch.save(state, tmp_path / "pytorch_model.bin")

    def download(repository, file, revision):
        if file == "model.safetensors":
            raise EntryNotFoundError(file)
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert same(create_model(NAME, checkpoint="pretrained", num_classes=1000, **TINY), state)


@pytest.mark.parametrize("error", [ConnectionError("no route to host"), LocalEntryNotFoundError("not in the cache")])
def test_no_network_is_one_error_with_what_to_fetch(error, monkeypatch):
    def download(*args, **kwargs):
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(PccloraError, match="model.safetensors of the repository timm/vit_tiny.*checkpoint=FILE"):
        create_model(NAME, pretrained=True, **TINY)
