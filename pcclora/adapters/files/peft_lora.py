"""Hugging Face peft's LoRA files, both ways.

LoRA and DoRA on whole linear maps are written under peft's own names, and peft's folders are read: the same outputs,
difference 0.0. LoRA on slices, CLoRA and every other sum of low-rank products are exported as one plain LoRA for each
linear map, equal up to rounding (tests/adapters/test_peft.py compares all with peft itself). CLoRA under its own name
is in :mod:`pcclora.adapters.files.peft_clora`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mode
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from pcclora.adapters.attach import active_adapter, host_of
from pcclora.adapters.base import Adapter
from pcclora.adapters.files.folder import AdapterFiles, write_files
from pcclora.adapters.files.tensors import base_fingerprint
from pcclora.adapters.lowrank import LowRankAdapter
from pcclora.adapters.methods.dora import DoRAConfig
from pcclora.adapters.methods.lora import LoRAConfig
from pcclora.config import from_dict
from pcclora.errors import PccloraError

PREFIX = "base_model.model."
_NUMBERS = ("r", "lora_alpha", "lora_dropout", "use_rslora")
_PATTERNS = ("rank_pattern", "alpha_pattern")
_NAMES = ("target_modules", "exclude_modules", "modules_to_save")
NO_MATTER = (  # true or not, they change nothing of what a saved adapter computes
    *("peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "task_type"),
    *("inference_mode", "fan_in_fan_out", "megatron_core", "qalora_group_size", "ensure_weight_tying"),
)


def export_peft(model: nn.Module, folder: str | Path, *, name: str | None = None) -> None:
    """Write an adapter as plain LoRA that Hugging Face peft loads, if it is a sum of low-rank products.

    Args:
        model: An adapted model.
        folder: Gets adapter_config.json and adapter_model.safetensors.
        name: Which adapter; None is the active one.

    Raises:
        PccloraError: If the adapter is of another method, or trains tensors that peft cannot hold.
    """
    name, adapter = active_adapter(model, name)
    if not isinstance(adapter, LowRankAdapter):
        trained = ", ".join(f"'{key}'" for key in adapter.trained_parameters[:3])
        raise PccloraError(
            f"adapter '{name}': {type(adapter.config).__name__} is no low-rank method, and peft cannot hold what it "
            f"trains ({trained}, ...); use save_adapter"
        )
    reason = obstacle(model, adapter) or _lost(model, adapter)
    if reason is not None:
        raise PccloraError(f"adapter '{name}': {reason}; attach with other modules_to_save, or merge instead")
    config, tensors = as_peft(model, name)
    write_files(Path(folder), config, tensors, base_fingerprint(model, exclude=host_of(model).aside[name]))


def is_native_to_peft(model: nn.Module, adapter: Adapter) -> bool:
    """Tell whether an adapter is exactly what peft has too: on whole linear maps, with whole modules beside it."""
    return _is_peft_kind(adapter) and obstacle(model, adapter) is None and _lost(model, adapter) is None


def _is_peft_kind(adapter: Adapter) -> bool:
    named = isinstance(adapter, LowRankAdapter) and bool(adapter.peft_names)
    return named and all(target.rows is None for target in adapter.targets)


def is_peft(names: Iterable[str]) -> bool:
    """Tell from the names of its tensors whether a file is in peft's form."""
    return any(name.startswith("base_model.") for name in names)


def obstacle(model: nn.Module, adapter: Adapter) -> str | None:
    """Return why peft cannot hold what an adapter trains beside its maps, or None."""
    modules = dict(model.named_modules())
    bare = [f"'{name}'" for name in adapter.modules_to_save if name not in modules]
    if bare:
        return f"peft saves whole modules, and cannot hold the bare parameter {', '.join(bare)}"
    for name in adapter.modules_to_save:
        if isinstance(modules[name], nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict):
            return f"peft does not save a {type(modules[name]).__name__} as '{name}' is"
    for name in saved_modules(model, adapter.modules_to_save):
        if not any(name == known or name.startswith(f"{known}.") for known in adapter.modules_to_save):
            return f"peft would save '{name}' too, since its name ends like one of modules_to_save"
    return None


def as_peft(
    model: nn.Module, name: str, _: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the settings and the tensors of a low-rank adapter in peft's form."""
    host = host_of(model)
    adapter = cast("LowRankAdapter", host[name])
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    with torch.no_grad():
        for module in dict.fromkeys(target.module for target in adapter.targets):
            if _is_peft_kind(adapter):
                (share,) = adapter.shares[module]
                own = adapter.groups[share.group]
                named = {key: own.get_parameter(n)[share.members.start] for n, key in adapter.peft_names.items()}
            else:
                A, B = adapter.lora_form(module, host.original(f"{module}.weight"))
                named = {"lora_A.weight": A, "lora_B.weight": B}
            tensors |= {f"{PREFIX}{module}.{key}": tensor for key, tensor in named.items()}
            ranks[module] = len(named["lora_A.weight"])
    for key in (*adapter.trained_parameters, *adapter.trained_buffers):
        tensors[PREFIX + key] = host.copy_of(name, key)
    return _config(model, adapter, ranks), tensors


def from_peft(model: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of :func:`as_peft`'s names under the names that the adapter has for them."""
    adapter = cast("LowRankAdapter", host_of(model)[name])
    members: dict[str, dict[int, Tensor]] = {}
    for module, (share,) in adapter.shares.items():
        for own_name, key in adapter.peft_names.items():
            parts = members.setdefault(f"groups.{share.group}.{own_name}", {})
            parts[share.members.start] = tensors[f"{PREFIX}{module}.{key}"]
    own = {key: torch.stack([parts[i] for i in sorted(parts)]) for key, parts in members.items()}
    return own | {key: tensors[PREFIX + key] for key in (*adapter.trained_parameters, *adapter.trained_buffers)}


def read_config(files: AdapterFiles, model: nn.Module) -> LoRAConfig:
    """Return the settings of a folder in peft's form, with the full names of what it adapts in this model.

    Raises:
        PccloraError: If it uses what only peft can do.
    """
    values, place = files.config, files.settings
    if values.get("peft_type") != "LORA":
        raise PccloraError(f"{place}: peft_type is {values.get('peft_type')}; of peft's methods only LORA is read here")
    for key, value in values.items():
        idle = value in (None, False, "none", [], {}) or (key == "init_lora_weights" and value in (True, "gaussian"))
        idle = idle or (key == "use_dora" and value is True)  # it is DoRA then
        if key not in (*_NUMBERS, *_PATTERNS, *_NAMES, *NO_MATTER) and not idle:
            raise PccloraError(f"{place}: {key} = {value!r} is unknown here, or only peft can do it; merge it there")
    numbers: dict[str, Any] = {key: values[key] for key in _NUMBERS if key in values}
    numbers |= {key: values[key] for key in _PATTERNS if values.get(key)}
    try:
        saved = saved_modules(model, values.get("modules_to_save") or ())
        targets = _adapted(model, values.get("target_modules") or (), values.get("exclude_modules") or (), saved)
    except (TypeError, re.error) as error:
        raise PccloraError(f"{place}: target_modules or modules_to_save cannot be read: {error}") from error
    if not targets:
        raise PccloraError(f"{place}: target_modules {values.get('target_modules')} match nothing in this model")
    names = {"target_modules": targets, "modules_to_save": saved}
    return from_dict(DoRAConfig if values.get("use_dora") else LoRAConfig, numbers | names, source=str(place))


def _config(model: nn.Module, adapter: LowRankAdapter, ranks: dict[str, int]) -> dict[str, Any]:
    found = {module: (rank, adapter.lora_alpha(rank, module)) for module, rank in ranks.items()}
    common = (adapter.config.r, adapter.config.lora_alpha) if _is_peft_kind(adapter) else mode(found.values())
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "base_model_name_or_path": None,
        "task_type": None,
        "inference_mode": True,
        "r": common[0],
        "lora_alpha": common[1],
        "bias": "none",
        "target_modules": list(ranks),
        "modules_to_save": list(adapter.modules_to_save) or None,
        **adapter.peft_settings,
    }
    for place, key in enumerate(("rank_pattern", "alpha_pattern")):
        other = {f"^{re.escape(module)}": own[place] for module, own in found.items() if own[place] != common[place]}
        config |= {key: other} if other else {}
    exclude = _excluded(model, adapter)
    return config | ({"exclude_modules": exclude} if exclude else {})


def _excluded(model: nn.Module, adapter: Adapter) -> list[str]:
    """Return what peft, to which a name is an ending of names, must be told not to adapt."""
    targets = adapter.acts_on
    return [name for name in _adapted(model, targets, (), adapter.modules_to_save) if name not in targets]


def _lost(model: nn.Module, adapter: Adapter) -> str | None:
    """Return what peft's LoRA would not adapt because of its name, or None."""
    found = _adapted(model, adapter.acts_on, _excluded(model, adapter), adapter.modules_to_save)
    lost = adapter.acts_on.difference(found)
    return f"peft would not adapt '{min(lost)}', since its name is like one of another module" if lost else None


def saved_modules(model: nn.Module, endings: Iterable[str]) -> list[str]:
    """Return the modules that peft's ``modules_to_save`` means: those whose names end so."""
    ends = tuple(endings)
    return [name for name in _names(model) if name.endswith(ends)] if ends else []


def _adapted(model: nn.Module, targets: Any, exclude: Any, saved: Iterable[str]) -> list[str]:
    """Return the modules that peft's ``target_modules`` mean: a regular expression, or a list of endings."""
    inside = [re.compile(rf"(^|.*\.){name}($|\..*)") for name in saved]

    def means(patterns: Any, name: str) -> bool:
        if isinstance(patterns, str):
            return re.fullmatch(patterns, name) is not None
        return any(name == ending or name.endswith(f".{ending}") for ending in patterns)

    names = [name for name in _names(model) if means(targets, name) and not means(exclude, name)]
    return [name for name in names if not any(pattern.match(name) for pattern in inside)]


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_modules() if name and name.partition(".")[0] != "adapters"]
