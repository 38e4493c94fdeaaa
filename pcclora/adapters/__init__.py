"""The adaptation core: it knows ``nn.Module``, and neither points nor pixels."""

from pcclora.adapters.attach import attach, detach, disabled, merge, set_adapter, unmerge
from pcclora.adapters.base import Adapter, AdapterConfig
from pcclora.adapters.clora import CLoRA, CLoRAConfig
from pcclora.adapters.lora import LoRA, LoRAConfig
from pcclora.adapters.selective import BitFitConfig, FullConfig, LinearConfig

__all__ = [
    "Adapter",
    "AdapterConfig",
    "BitFitConfig",
    "CLoRA",
    "CLoRAConfig",
    "FullConfig",
    "LinearConfig",
    "LoRA",
    "LoRAConfig",
    "attach",
    "detach",
    "disabled",
    "merge",
    "set_adapter",
    "unmerge",
]
