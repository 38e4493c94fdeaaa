"""pcclora: adapt pre-trained transformers to point clouds by training a fraction of a percent of their weights."""

from pcclora.adapters import (
    BitFitConfig,
    CLoRAConfig,
    FullConfig,
    LinearConfig,
    LoRAConfig,
    attach,
    detach,
    disabled,
    export_peft,
    load_adapter,
    merge,
    print_trainable_parameters,
    save_adapter,
    set_adapter,
    unmerge,
)
from pcclora.errors import PccloraError
from pcclora.metrics import count_macs, count_parameters
from pcclora.models import create_model, list_models, load_checkpoint

__version__ = "0.1.0"

__all__ = [
    "BitFitConfig",
    "CLoRAConfig",
    "FullConfig",
    "LinearConfig",
    "LoRAConfig",
    "PccloraError",
    "attach",
    "count_macs",
    "count_parameters",
    "create_model",
    "detach",
    "disabled",
    "export_peft",
    "list_models",
    "load_adapter",
    "load_checkpoint",
    "merge",
    "print_trainable_parameters",
    "save_adapter",
    "set_adapter",
    "unmerge",
]
