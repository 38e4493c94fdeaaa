"""pcclora: adapt pre-trained transformers to point clouds by training a fraction of a percent of their weights."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcclora.adapters import (
        BitFitConfig,
        CLoRAConfig,
        FullConfig,
        LinearConfig,
        LoRAConfig,
        adapter_config,
        attach,
        combine,
        detach,
        disabled,
        export_peft,
        list_adapters,
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
    from pcclora.runs import load_run, load_runs

__version__ = "0.1.0"

__all__ = [
    "BitFitConfig",
    "CLoRAConfig",
    "FullConfig",
    "LinearConfig",
    "LoRAConfig",
    "PccloraError",
    "adapter_config",
    "attach",
    "combine",
    "count_macs",
    "count_parameters",
    "create_model",
    "detach",
    "disabled",
    "export_peft",
    "list_adapters",
    "list_models",
    "load_adapter",
    "load_checkpoint",
    "load_run",
    "load_runs",
    "merge",
    "print_trainable_parameters",
    "save_adapter",
    "set_adapter",
    "unmerge",
]

_ROOMS = ("adapters", "errors", "metrics", "models", "runs")
"""Where the public names come from. They are imported when they are asked for: torch alone takes seconds."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        found = next(room for room in _ROOMS if hasattr(import_module(f"{__name__}.{room}"), name))
        return getattr(import_module(f"{__name__}.{found}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
