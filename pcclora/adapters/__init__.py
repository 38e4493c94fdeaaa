"""The adaptation core: it knows ``nn.Module``, and neither points nor pixels."""

from pcclora.adapters.attach import (
    attach,
    detach,
    disabled,
    merge,
    print_trainable_parameters,
    set_adapter,
    unmerge,
)
from pcclora.adapters.base import Adapter, AdapterConfig
from pcclora.adapters.clora import CLoRA, CLoRAConfig
from pcclora.adapters.io import load_adapter, save_adapter
from pcclora.adapters.lora import LoRA, LoRAConfig
from pcclora.adapters.peft_format import export_peft
from pcclora.adapters.selective import BitFitConfig, FullConfig, LinearConfig
from pcclora.adapters.state import adapter_tensors, base_fingerprint, load_adapter_tensors

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
    "adapter_tensors",
    "attach",
    "base_fingerprint",
    "detach",
    "disabled",
    "export_peft",
    "load_adapter",
    "load_adapter_tensors",
    "merge",
    "print_trainable_parameters",
    "save_adapter",
    "set_adapter",
    "unmerge",
]
