"""The adaptation core: it knows ``nn.Module``, and neither points nor pixels.

A method of your own needs what is here and nothing else: see ``docs/adapters.md``.
"""

from pcclora.adapters.attach import (
    attach,
    detach,
    disabled,
    merge,
    print_trainable_parameters,
    set_adapter,
    unmerge,
)
from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.catalog import adapter_config, list_adapters
from pcclora.adapters.combine import combine
from pcclora.adapters.files.peft_lora import export_peft
from pcclora.adapters.files.save_load import load_adapter, save_adapter
from pcclora.adapters.files.tensors import adapter_tensors, base_fingerprint, load_adapter_tensors
from pcclora.adapters.in_front import InFrontAdapter
from pcclora.adapters.lowrank import LowRankAdapter
from pcclora.adapters.methods.adapter import HoulsbyConfig, SequentialAdapterConfig
from pcclora.adapters.methods.adapter_plus import AdapterPlusConfig
from pcclora.adapters.methods.adaptformer import AdaptFormerConfig
from pcclora.adapters.methods.arc import ARCConfig
from pcclora.adapters.methods.clora import CLoRA, CLoRAConfig
from pcclora.adapters.methods.consolidator import ConsolidatorConfig
from pcclora.adapters.methods.convpass import ConvpassConfig
from pcclora.adapters.methods.dapt import DAPTConfig
from pcclora.adapters.methods.dora import DoRAConfig
from pcclora.adapters.methods.fact import FacTTKConfig, FacTTTConfig
from pcclora.adapters.methods.gaprompt import GAPromptConfig
from pcclora.adapters.methods.idpt import IDPTConfig
from pcclora.adapters.methods.lora import LoRA, LoRAConfig
from pcclora.adapters.methods.lora_xs import LoRAXSConfig
from pcclora.adapters.methods.moslora import MoSLoRAConfig
from pcclora.adapters.methods.pointgst import PointGSTConfig
from pcclora.adapters.methods.pointlora import PointLoRAConfig
from pcclora.adapters.methods.ppt import PPTConfig
from pcclora.adapters.methods.repadapter import RepAdapterConfig
from pcclora.adapters.methods.selective import BitFitConfig, FullConfig, LinearConfig
from pcclora.adapters.methods.ssf import SSFConfig
from pcclora.adapters.methods.stag import STAGConfig
from pcclora.adapters.methods.vera import VeRAConfig
from pcclora.adapters.methods.vpt import VPTDeepConfig
from pcclora.adapters.places import Place, find_places, has_place, prefix_tokens, token_width
from pcclora.adapters.targets import Target, attention_targets, find_targets

__all__ = [
    "ARCConfig",
    "About",
    "AdaptFormerConfig",
    "Adapter",
    "AdapterConfig",
    "AdapterPlusConfig",
    "BitFitConfig",
    "CLoRA",
    "CLoRAConfig",
    "ConsolidatorConfig",
    "ConvpassConfig",
    "DAPTConfig",
    "DoRAConfig",
    "FacTTKConfig",
    "FacTTTConfig",
    "FullConfig",
    "GAPromptConfig",
    "HoulsbyConfig",
    "IDPTConfig",
    "InFrontAdapter",
    "LinearConfig",
    "LoRA",
    "LoRAConfig",
    "LoRAXSConfig",
    "LowRankAdapter",
    "MoSLoRAConfig",
    "PPTConfig",
    "Place",
    "PointGSTConfig",
    "PointLoRAConfig",
    "RepAdapterConfig",
    "SSFConfig",
    "STAGConfig",
    "SequentialAdapterConfig",
    "Target",
    "VPTDeepConfig",
    "VeRAConfig",
    "adapter_config",
    "adapter_tensors",
    "attach",
    "attention_targets",
    "base_fingerprint",
    "combine",
    "detach",
    "disabled",
    "export_peft",
    "find_places",
    "find_targets",
    "has_place",
    "list_adapters",
    "load_adapter",
    "load_adapter_tensors",
    "merge",
    "prefix_tokens",
    "print_trainable_parameters",
    "save_adapter",
    "set_adapter",
    "token_width",
    "unmerge",
]
