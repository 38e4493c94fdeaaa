"""Every method with settings that fit every backbone, and what the promises' tests do with them."""

from dataclasses import fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pcclora
from pcclora import BitFitConfig, CLoRAConfig, FullConfig, LinearConfig, LoRAConfig
from pcclora.adapters import (
    Adapter,
    AdapterPlusConfig,
    AdaptFormerConfig,
    ARCConfig,
    ConsolidatorConfig,
    ConvpassConfig,
    DAPTConfig,
    DoRAConfig,
    FacTTKConfig,
    FacTTTConfig,
    GAPromptConfig,
    HoulsbyConfig,
    IDPTConfig,
    LoRAXSConfig,
    MoSLoRAConfig,
    PointGSTConfig,
    PointLoRAConfig,
    PPTConfig,
    RepAdapterConfig,
    SequentialAdapterConfig,
    SSFConfig,
    STAGConfig,
    VeRAConfig,
    VPTDeepConfig,
)
from tests.adapters.backbones import BACKBONES, CLASSES

Case = tuple[nn.Module, Adapter, Tensor]

ATTENTION = ("blocks.*.attn.qkv", "blocks.*.attn.proj")
WHOLE = {
    "mlp": ("fc1", "fc2"),
    "fused_vit": ATTENTION,
    "point_mae_tiny": ATTENTION,
    "part_segmenter": ATTENTION,
    "timm_vit": ATTENTION,
    "timm_split_vit": ATTENTION,
}
SLICED = {
    "mlp": ("fc1[0:4,4:16]", "fc2[0:4,12:16]"),
    "fused_vit": ("blocks.*.attn.qkv[q,v]", "blocks.*.attn.proj", "blocks.*.mlp.fc1"),
    "point_mae_tiny": ("blocks.*.attn.qkv[q,k,v]", "blocks.*.attn.proj"),
    "part_segmenter": ("blocks.*.attn.qkv[q,k,v]", "blocks.*.attn.proj"),
    "timm_vit": ("blocks.*.attn.qkv[q,v]", "blocks.*.mlp.fc1[0:8]", "blocks.*.mlp.fc2"),
    "timm_split_vit": ("blocks.*.attn.qkv[q,v]", "blocks.*.mlp.fc1_g", "blocks.*.attn.proj[8:24]"),
}
CLORA: dict[str, dict[str, Any]] = {
    "clora": {},
    "clora_slices": {"sliced": True},
    "clora_input": {"placement": "input"},
    "clora_shared_cores": {"share_cores": True, "diversity": 0.1},
    "clora_cosine": {"diversity_form": "cosine", "diversity": 0.1, "sliced": True},
    "clora_dropout": {"dropout": 0.3, "sliced": True},
    "clora_half": {"share": "half", "sliced": True, "diversity": 0.1},
    "clora_role": {"share": "role", "sliced": True},
    "clora_role_input": {"share": "role", "placement": "input", "share_cores": True},
    "clora_one_basis": {"bases": 1, "scale": 0.5},
}
LORA: dict[str, dict[str, Any]] = {
    "lora": {"lora_dropout": 0.1},
    "lora_slices": {"sliced": True, "lora_alpha": 4.0},
    "lora_ranks": {"rank_pattern": {".*1.*": 3}, "alpha_pattern": {".*1.*": 5.0}, "sliced": True},
    "lora_rs_plus": {"use_rslora": True, "loraplus_lr_ratio": 16.0},
    "lora_pissa": {"init": "pissa"},
    "lora_pissa_slices": {"init": "pissa", "sliced": True, "use_rslora": True},
}
SELECTIVE = {"linear": LinearConfig, "bitfit": BitFitConfig, "full": FullConfig}
POINTLORA_SETS = {"num_groups": (8, 4), "group_size": (6, 9), "chosen": (3, 2)}
GAPROMPT = {"m": 3, "prompts": 3, "points": 2, "groups": 5, "group_size": 3, "shape_groups": (16, 8)}
OTHERS: dict[str, tuple[type, dict[str, Any]]] = {
    "dora": (DoRAConfig, {"r": 2}),
    "dora_slices": (DoRAConfig, {"r": 2, "sliced": True}),
    "vera": (VeRAConfig, {"r": 6}),
    "vera_slices": (VeRAConfig, {"r": 6, "sliced": True}),
    "arc": (ARCConfig, {"k": 3}),
    "arc_paper": (ARCConfig, {"k": 3, "init": "paper"}),
    "repadapter": (RepAdapterConfig, {"m": 4, "scale": 0.5}),
    "consolidator": (ConsolidatorConfig, {"groups": 4}),
    "consolidator_paper": (ConsolidatorConfig, {"groups": 8, "init": "paper", "drop_path": 0.2}),
    "consolidator_slices": (ConsolidatorConfig, {"groups": 2, "sliced": True}),
    "ssf": (SSFConfig, {}),
    "ssf_paper": (SSFConfig, {"init": "paper"}),
    "adapter": (SequentialAdapterConfig, {"m": 3}),
    "adapter_xavier": (SequentialAdapterConfig, {"m": 3, "init": "xavier"}),
    "houlsby": (HoulsbyConfig, {"m": 3}),
    "houlsby_paper": (HoulsbyConfig, {"m": 3, "init": "houlsby"}),
    "adapter_plus": (AdapterPlusConfig, {"m": 3}),
    "adapter_plus_paper": (AdapterPlusConfig, {"m": 3, "init": "paper"}),
    "convpass": (ConvpassConfig, {"m": 3}),
    "convpass_xavier": (ConvpassConfig, {"m": 3, "init": "xavier", "scale": 0.1}),
    "adaptformer": (AdaptFormerConfig, {"m": 3}),
    "adaptformer_bare": (AdaptFormerConfig, {"m": 3, "bias": False, "dropout": 0.0}),
    "lora_xs": (LoRAXSConfig, {"r": 3}),
    "lora_xs_paper": (LoRAXSConfig, {"r": 3, "init": "paper"}),
    "lora_xs_slices": (LoRAXSConfig, {"r": 2, "sliced": True, "lora_alpha": 5.0}),
    "moslora": (MoSLoRAConfig, {"r": 2}),
    "moslora_slices": (MoSLoRAConfig, {"r": 2, "sliced": True, "use_rslora": True}),
    "vpt_deep": (VPTDeepConfig, {"prompts": 3}),
    "fact_tk": (FacTTKConfig, {"r": 2}),
    "fact_tk_slices": (FacTTKConfig, {"r": 2, "sliced": True, "scale": 0.5}),
    "fact_tt": (FacTTTConfig, {"r": 2, "scale": 0.5}),
    "fact_tt_slices": (FacTTTConfig, {"r": 2, "sliced": True, "dropout": 0.0}),
    "idpt": (IDPTConfig, {"k": 4}),
    "dapt": (DAPTConfig, {"r": 4}),
    "pointgst": (PointGSTConfig, {"r": 4, "local": 4}),
    "pointlora": (PointLoRAConfig, {"r": 2, "m": 3, **POINTLORA_SETS}),
    "pointlora_plain": (PointLoRAConfig, {"r": 2, "prompts": False}),
    "ppt": (PPTConfig, {"m": 3}),
    "ppt_two_sets": (PPTConfig, {"m": 3, "num_groups": 5, "group_size": 9}),
    "gaprompt": (GAPromptConfig, {**GAPROMPT}),
    "gaprompt_prompts": (GAPromptConfig, {**GAPROMPT, "neighbours": "prompts"}),
    "stag": (STAGConfig, {"h": 6, "k": 3}),
    "stag_sl": (STAGConfig, {"h": 6, "k": 3, "variant": "sl"}),
}
"""Every other method, with the settings that it is tried with; targets are put in by the backbone."""
METHODS = [*CLORA, *LORA, *SELECTIVE, *OTHERS]

TABLE = [name for name in BACKBONES if name not in ("fused_vit", "part_segmenter")]  # the first is of timm_vit's kind
IN_PARTS = ("vpt_deep", "idpt", "dapt", "pointgst", "pointlora", "ppt", "ppt_two_sets")
"""What part segmentation is tried with, where there is no head of a classifier."""

POINTS_ONLY = ("dapt", "gaprompt", "idpt", "pointgst", "pointlora", "ppt", "stag")
NO_PLACE = {
    "mlp": (*POINTS_ONLY, "adapter", "adaptformer", "convpass", "houlsby", "ssf", "vpt_deep"),
    "fused_vit": (*POINTS_ONLY, "convpass"),
    "point_mae_tiny": ("convpass",),  # points lie on no grid
    "timm_vit": POINTS_ONLY,
    "timm_split_vit": (*POINTS_ONLY, "vpt_deep"),  # its rotary positions count on one token a patch
}
"""What a backbone has no place for, by the beginning of the methods' names."""


def refuses(method: str, backbone: str) -> bool:
    """Whether a backbone has no place for a method."""
    return method.startswith(NO_PLACE.get(backbone, ()))


def _case(method: str, backbone: str) -> Any:
    """A method on a backbone; but for one backbone, further settings of a method are tried by the slow tests alone."""
    further = method not in pcclora.list_adapters()
    home = "point_mae_tiny" if not refuses(method, "point_mae_tiny") else "timm_vit"
    return pytest.param(method, backbone, marks=pytest.mark.slow if further and backbone != home else ())


every = pytest.mark.parametrize(
    ("method", "backbone"),
    [_case(m, b) for b in TABLE for m in METHODS if not refuses(m, b)] + [(m, "part_segmenter") for m in IN_PARTS],
)
refused = pytest.mark.parametrize(("method", "backbone"), [(m, b) for b in TABLE for m in METHODS if refuses(m, b)])
several = pytest.mark.parametrize(
    ("method", "backbone"),
    [
        ("clora_slices", "mlp"),
        ("clora_slices", "point_mae_tiny"),
        ("lora", "timm_split_vit"),
        ("bitfit", "timm_vit"),
        ("full", "fused_vit"),
        ("full", "mlp"),
        ("linear", "point_mae_tiny"),
        ("dora_slices", "timm_vit"),
        ("vera_slices", "point_mae_tiny"),
        ("arc", "timm_split_vit"),
        ("fact_tk", "timm_vit"),
        ("lora_xs", "timm_vit"),
        ("ssf", "point_mae_tiny"),
        ("adaptformer", "timm_vit"),
        ("repadapter", "point_mae_tiny"),
        ("convpass", "timm_vit"),
        ("consolidator", "timm_vit"),
        ("adapter", "point_mae_tiny"),
        ("adapter_plus", "point_mae_tiny"),
        ("houlsby_paper", "timm_split_vit"),
        ("vpt_deep", "point_mae_tiny"),
        ("vpt_deep", "timm_vit"),
        ("idpt", "point_mae_tiny"),
        ("dapt", "point_mae_tiny"),
        ("pointgst", "point_mae_tiny"),
        ("pointlora", "point_mae_tiny"),
        ("pointlora_plain", "point_mae_tiny"),
        ("ppt", "point_mae_tiny"),
        ("ppt_two_sets", "point_mae_tiny"),
        ("gaprompt", "point_mae_tiny"),
        ("stag", "point_mae_tiny"),
    ],
)


def config(method: str, backbone: str) -> Any:
    """A method's settings, with targets that fit the backbone."""
    saved = ("head",) if backbone == "mlp" else None
    if method in SELECTIVE:
        return SELECTIVE[method](modules_to_save=saved)
    if method in OTHERS:
        return _other(method, backbone, saved)
    options = dict({**CLORA, **LORA}[method])
    targets = (SLICED if options.pop("sliced", False) else WHOLE)[backbone]
    if method in CLORA:
        options = {"bases": 2, **options}
    return (CLoRAConfig if method in CLORA else LoRAConfig)(
        r=2, target_modules=targets, modules_to_save=saved, **options
    )


def _other(method: str, backbone: str, saved: tuple[str, ...] | None) -> Any:
    kind, options = OTHERS[method][0], dict(OTHERS[method][1])
    if any(field.name == "target_modules" for field in fields(kind)):
        options["target_modules"] = (SLICED if options.pop("sliced", False) else WHOLE)[backbone]
    if saved is not None:  # else the method's own
        options["modules_to_save"] = saved
    return kind(**options)


def attached(method: str, backbone: str, *, steps: int = 0, dtype: torch.dtype = torch.float32) -> Case:
    """A backbone with an adapter on it, in eval mode, after some steps of training."""
    model, x = BACKBONES[backbone]()
    model, x = model.to(dtype), x.to(dtype)
    adapter = pcclora.attach(model, config(method, backbone))
    train(model, adapter, x, steps=steps)
    return model, adapter, x


def train(model: nn.Module, adapter: Adapter, x: Tensor, *, steps: int) -> None:
    """A few steps of Adam, without weight decay: what has no gradient does not move."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-2)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        (F.cross_entropy(model(x), torch.arange(len(x)) % CLASSES) + adapter.regularization()).backward()
        optimiser.step()
    model.eval()


def output(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)


def is_the_base(model: nn.Module, backbone: str, dtype: torch.dtype = torch.float32) -> bool:
    """Tell whether state, output, types and modes are those of a model that never met an adapter."""
    base, x = BACKBONES[backbone]()
    base, x = base.to(dtype), x.to(dtype)
    return (
        same(state(model), state(base))
        and torch.equal(output(model, x), output(base, x))
        and [(name, type(module)) for name, module in model.named_modules()]
        == [(name, type(module)) for name, module in base.named_modules()]
        and all(vars(model.get_submodule(name)).keys() == vars(module).keys() for name, module in base.named_modules())
        and not model._load_state_dict_pre_hooks
        and not model._load_state_dict_post_hooks
        and all(parameter.requires_grad for parameter in model.parameters())
    )
