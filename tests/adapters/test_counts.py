"""What each method trains in the trunks of ViT-B/16 and Point-MAE, without head and class token, as published."""

from pathlib import Path

import pytest
import torch
from torch import nn

import pcclora
from pcclora import BitFitConfig, CLoRAConfig, LoRAConfig, PccloraError
from pcclora.adapters import (
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

WHOLE = ("blocks.*.attn.qkv", "blocks.*.attn.proj")

COUNTS = {  # name: (settings, ViT-B/16, Point-MAE), sorted by name; None where it is refused
    "adapter m=8": (SequentialAdapterConfig(m=8), 156_768, 78_432),
    "adapter_plus m=1": (AdapterPlusConfig(m=1), 36_876, 18_444),
    "adapter_plus m=8": (AdapterPlusConfig(m=8), 165_984, 83_040),
    "adapter_plus m=16": (AdapterPlusConfig(m=16), 313_536, 156_864),
    "adaptformer m=8": (AdaptFormerConfig(m=8), 156_768, 78_432),
    "adaptformer m=8, no biases": (AdaptFormerConfig(m=8, bias=False), 147_456, 73_728),
    "arc k=50": (ARCConfig(), 96_432, 48_816),
    "bitfit": (BitFitConfig(), 102_912, 39_680),
    "clora": (CLoRAConfig(), 61_440, 36_864),
    "clora input": (CLoRAConfig(placement="input"), 55_296, 30_720),
    "clora share=half": (CLoRAConfig(share="half"), 110_592, 61_440),
    "clora share=role": (CLoRAConfig(share="role"), 208_896, 110_592),
    "consolidator": (ConsolidatorConfig(), 304_128, 96_768),
    "convpass": (ConvpassConfig(), 327_552, None),
    "dapt": (DAPTConfig(), None, 1_087_771 - 365_839 - 768),
    "dora": (DoRAConfig(), 626_688, 313_344),
    "dora qkv, proj": (DoRAConfig(target_modules=WHOLE), 479_232, 239_616),
    "fact_tk r=16": (FacTTKConfig(r=16), 30_976, 18_688),
    "fact_tk r=32": (FacTTKConfig(), 86_528, 61_952),
    "fact_tt r=8": (FacTTTConfig(r=8), 21_504, 15_360),
    "fact_tt r=16": (FacTTTConfig(), 61_440, 49_152),
    "gaprompt": (GAPromptConfig(), None, 233_880),
    "houlsby m=8": (HoulsbyConfig(m=8), 313_536, 156_864),
    "idpt": (IDPTConfig(), None, 1_330_560),  # the prompt's position among them
    "lora q, v": (LoRAConfig(target_modules=("blocks.*.attn.qkv[q,v]",)), 294_912, 147_456),
    "lora qkv": (LoRAConfig(target_modules=("blocks.*.attn.qkv",)), 294_912, 147_456),
    "lora qkv, proj": (LoRAConfig(target_modules=WHOLE), 442_368, 221_184),
    "lora r=32 qkv, proj": (LoRAConfig(r=32, target_modules=WHOLE), 1_769_472, 884_736),
    "lora": (LoRAConfig(), 589_824, 294_912),
    "lora_xs r=16": (LoRAXSConfig(), 12_288, 12_288),
    "lora_xs r=25": (LoRAXSConfig(r=25), 30_000, 30_000),
    "moslora": (MoSLoRAConfig(), 592_896, 297_984),
    "pointgst": (PointGSTConfig(), None, 354_528),
    "pointlora": (PointLoRAConfig(), None, 772_752 - 268_303),  # published with head and class token
    "pointlora prompts=False": (PointLoRAConfig(prompts=False), None, 221_184 + 33_792 + 50_048),
    "ppt": (PPTConfig(), None, 1_042_191 - 365_839 - 768),
    "repadapter m=8": (RepAdapterConfig(m=8), 239_808, 120_000),
    "ssf": (SSFConfig(), 205_824, 102_144),
    "stag": (STAGConfig(), None, 259_200),
    "stag sl": (STAGConfig(variant="sl"), None, 851_520),
    "vera": (VeRAConfig(), 49_152, 30_720),
    "vera qkv, proj": (VeRAConfig(target_modules=WHOLE), 43_008, 24_576),
    "vpt_deep": (VPTDeepConfig(), 92_160, 92_160),
}


@pytest.fixture(scope="module")
def vit_base() -> nn.Module:
    pytest.importorskip("timm")
    with torch.device("meta"):
        return pcclora.create_model("timm/vit_base_patch16_224", num_classes=2)


@pytest.fixture(scope="module")
def point_mae() -> nn.Module:
    return pcclora.create_model("point_mae", num_classes=15)


@pytest.mark.parametrize("name", COUNTS)
def test_vit_base(name: str, vit_base: nn.Module) -> None:
    assert trained(vit_base, COUNTS[name][0]) == COUNTS[name][1]


@pytest.mark.parametrize("name", COUNTS)
def test_point_mae(name: str, point_mae: nn.Module) -> None:
    assert trained(point_mae, COUNTS[name][0]) == COUNTS[name][2]


def trained(model: nn.Module, config: object) -> int | None:
    try:
        adapter = pcclora.attach(model, config)
    except PccloraError:
        return None
    saved = adapter.modules_to_save
    total = sum(p.numel() for n, p in model.named_parameters() if p.requires_grad and not n.startswith(tuple(saved)))
    pcclora.detach(model)
    return total


def test_the_page_on_adapters_has_what_cloras_settings_train(root: Path) -> None:
    page = (root / "docs" / "adapters.md").read_text()
    for name in ("clora", "clora input", "clora share=half", "clora share=role"):
        assert f" {COUNTS[name][1]:,}" in page, name


LAST_TEN = tuple(f"blocks.{i}.attn.{name}" for i in range(2, 12) for name in ("qkv[q,k,v]", "proj"))


@pytest.mark.parametrize(
    "settings", [CLoRAConfig(r=8, bases=4), FacTTTConfig(r=16), LoRAConfig(r=1, target_modules=LAST_TEN)]
)
def test_equal_numbers_for_a_fair_duel(settings: object, vit_base: nn.Module) -> None:
    """Four bases with small cores in attention, one wider basis with large cores everywhere, none shared: 61,440."""
    assert trained(vit_base, settings) == 61_440


@pytest.mark.parametrize(
    ("method", "published"),
    [("linear", 4.76), ("vpt_deep", 4.97), ("idpt", 7.10), ("dapt", 4.96), ("pointgst", 4.81), ("gaprompt", 5.0)],
)
def test_billions_of_products_as_published(method: str, published: float) -> None:
    """PPT's and PointLoRA's are in test_groups.py: they are fewer here, for groups that the model has are taken."""
    model = pcclora.create_model("point_mae", num_classes=15, num_groups=128)
    pcclora.attach(model, pcclora.adapter_config(method))
    cloud = torch.rand(1, 2048, 3, device="meta")
    assert pcclora.count_macs(model.to("meta"), cloud).literature / 1e9 == pytest.approx(published, abs=0.035)


@pytest.mark.parametrize("method", ["lora", "clora", "fact_tt", "repadapter", "arc", "consolidator", "ssf"])
def test_merged_it_costs_what_the_bare_model_does(method: str) -> None:
    model = pcclora.create_model("point_mae", num_classes=15, depth=2, num_groups=16)
    cloud = torch.rand(1, 512, 3)
    bare = pcclora.count_macs(model, cloud)
    pcclora.attach(model, pcclora.adapter_config(method))
    assert pcclora.count_macs(model, cloud).total > bare.total or method == "ssf"  # it has no products
    pcclora.merge(model)
    assert pcclora.count_macs(model, cloud) == bare
