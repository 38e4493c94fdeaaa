"""Folders of trained adapters, what spoils them, and that a refusal leaves the model as it was."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pcclora import adapters as ad
from pcclora.adapters.files.folder import CONFIG, TENSORS
from pcclora.errors import PccloraError
from pcclora.tensor_file import checksum
from tests.adapters.backbones import BACKBONES

METHODS = {
    "clora": lambda: ad.CLoRAConfig(r=2, bases=2),
    "clora_input": lambda: ad.CLoRAConfig(r=2, bases=2, placement="input"),
    "clora_shared": lambda: ad.CLoRAConfig(r=2, bases=2, share_cores=True),
    "lora": lambda: ad.LoRAConfig(r=2, lora_alpha=3.0),
    "bitfit": ad.BitFitConfig,
    "linear": ad.LinearConfig,
    "full": ad.FullConfig,
}


def config_for(method, backbone):
    config = METHODS[method]()
    if backbone == "mlp":
        config.modules_to_save = ("head",)
    if hasattr(config, "target_modules") and backbone in ("mlp", "split_vit"):
        config.target_modules = ("fc1", "fc2") if backbone == "mlp" else ("blocks.*.attn.*",)
    return config


def moved(model, name=None):
    """Give every tensor of an adapter new values, and return their copies."""
    generator = torch.Generator().manual_seed(7)
    tensors = ad.adapter_tensors(model, name)
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.1)
    return {key: tensor.clone() for key, tensor in tensors.items()}


def trained(method="clora", backbone="fused_vit"):
    model, x = BACKBONES[backbone]()
    ad.attach(model, config_for(method, backbone))
    moved(model)
    return model.eval(), x


def saved(folder, method="clora", backbone="fused_vit"):
    model, x = trained(method, backbone)
    ad.save_adapter(model, folder)
    return model, x


def read(folder):
    with safe_open(folder / TENSORS, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def rewrite(folder, change=lambda tensors: None, **entries):
    """Change tensors of a file, or entries of its header, and sign it anew: what is wrong now, no checksum tells."""
    tensors, header = read(folder)
    change(tensors)
    header |= entries
    if "pcclora_sha256" in header:
        header["pcclora_sha256"] = checksum(tensors, header)
    save_file(tensors, folder / TENSORS, metadata=header)


def reconfigure(folder, **values):
    """Change settings in both files."""
    path = folder / CONFIG
    settings = json.loads(path.read_text()) | values
    path.write_text(json.dumps(settings))
    rewrite(folder, pcclora_config=json.dumps(settings))


def state_of(model):
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    return (
        state,
        [(n, type(m), m.training) for n, m in model.named_modules()],
        [p.requires_grad for p in model.parameters()],
    )


def assert_unchanged(model, before):
    now = state_of(model)
    assert now[1:] == before[1:]
    assert now[0].keys() == before[0].keys()
    assert all(torch.equal(now[0][key], value) for key, value in before[0].items())


def assert_refused(folder, match, backbone="fused_vit"):
    model, _ = BACKBONES[backbone]()
    before = state_of(model)
    with pytest.raises(PccloraError, match=match):
        ad.load_adapter(model, folder)
    assert_unchanged(model, before)
