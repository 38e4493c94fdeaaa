"""Several adapters of one model as one: the weighted sum of what each adds to the weights.

What a low-rank method adds to a map is a product of two factors, whatever the method: D Q U of CLoRA, A M B of MoSLoRA.
Factors side by side make the sum of the products, so the combination is plain LoRA: exact, as large as its parts
together, and saved, merged and exported as any other. Of methods that add their parameters as they are, these are
summed. With w the weights and W0 the base,

    W = W0 + sum_i w_i (W_i - W0)

and the same holds of what trains beside the updates, as the head. So do Ilharco et al., Editing Models with Task
Arithmetic (arXiv 2212.04089), with whole models, and Hugging Face peft's ``add_weighted_adapter``, kind ``cat``, with
LoRA.
"""

import re
from collections.abc import Mapping
from math import isfinite, sqrt
from statistics import mode
from typing import Any, cast

import torch
from torch import Tensor, nn

from pcclora.adapters.attach import active_adapter, attached, host_of
from pcclora.adapters.base import Adapter, tensors_inside
from pcclora.adapters.files import peft_lora
from pcclora.adapters.files.save_load import settings_of
from pcclora.adapters.files.tensors import load_adapter_tensors
from pcclora.adapters.lowrank import LowRankAdapter
from pcclora.adapters.methods.lora import LoRAConfig
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS

Tensors = dict[str, Tensor]
Parts = Mapping[str, Adapter]


def combine(
    model: nn.Module, weights: Mapping[str, float], *, name: str = "combined", head: str | None = None
) -> Adapter:
    """Add an adapter that does what several of the model's do together, each by its weight.

    Low-rank adapters, of any of these methods and settings, become one LoRA. ``consolidator``, ``linear``, ``bitfit``
    and ``full`` are combined with others of their own method and settings. What any other method does is no sum.

    Args:
        model: Has the adapters, none of them merged.
        weights: Name of an adapter -> its weight, of any sign; they need not sum to 1.
        name: What to call the new one.
        head: Whose copies of ``modules_to_save`` (a head, a class token) are taken as they are; None sums these too.

    Returns:
        The adapter, active. The others stay as they are.

    Raises:
        PccloraError: If an adapter is not there, or cannot be combined with the others. The model is unchanged then.

    Examples:
        >>> import pcclora
        >>> model = pcclora.create_model("point_mae_tiny", num_classes=16, pretrained=True)
        >>> a = pcclora.attach(model, pcclora.LoRAConfig(r=4, target_modules=("blocks.*.attn.proj",)), name="a")
        >>> b = pcclora.attach(model, pcclora.CLoRAConfig(r=2, bases=3), name="b")
        >>> mixed = pcclora.combine(model, {"a": 0.7, "b": 0.3}, name="mixed")
        >>> pcclora.save_adapter(model, "mixed")
    """
    parts = _checked_parts(model, weights, head)
    host = host_of(model)
    if host.merged is not None:
        raise PccloraError(f"adapter '{host.active}' is merged; unmerge it before adapters are combined")
    beside = _beside(model, weights, parts, head)
    summed = all(part.sums for part in parts.values())
    config, tensors = (_of_parameters if summed else _of_products)(model, weights, parts)
    with attached(model, config, name) as adapter:
        if not summed:
            named = {peft_lora.PREFIX + key: tensor for key, tensor in beside.items()}
            tensors = peft_lora.from_peft(model, name, tensors | named)
        load_adapter_tensors(model, tensors | beside, name)
    return adapter


def _checked_parts(model: nn.Module, weights: Mapping[str, float], head: str | None) -> Parts:
    """Return the adapters, all of a kind that is a sum."""
    if not weights:
        raise PccloraError("no adapter to combine; give names and weights, as {'a': 0.7, 'b': 0.3}")
    parts = {name: active_adapter(model, name)[1] for name in weights}
    for name, weight in weights.items():
        if not isfinite(weight):
            raise PccloraError(f"the weight of adapter '{name}' is {weight}; a finite number is needed")
        if not (parts[name].sums or isinstance(parts[name], LowRankAdapter)):
            raise PccloraError(f"adapter '{name}': {_no_sum(parts[name])}")
    alone = [name for name, part in parts.items() if part.sums]
    if alone and len(alone) < len(parts):
        raise PccloraError(f"adapter '{alone[0]}': {_no_sum(parts[alone[0]])} but its own kind")
    if head is not None and head not in parts:
        raise PccloraError(f"head is '{head}', which is not combined; choose of {', '.join(parts)}")
    return parts


def _no_sum(part: Adapter) -> str:
    method = ADAPTERS.name_of(part.config)
    return f"what '{method}' does is no sum of low-rank updates, so it cannot be combined with others"


def _of_parameters(model: nn.Module, weights: Mapping[str, float], parts: Parts) -> tuple[Any, Tensors]:
    """Return the settings that all share, and the sums of their own parameters."""
    first, *others = parts
    for other in others:
        if type(parts[other].config) is not type(parts[first].config) or settings_of(parts[other]) != settings_of(
            parts[first]
        ):
            raise PccloraError(
                f"adapters '{first}' and '{other}': '{ADAPTERS.name_of(parts[first].config)}' is combined with its own "
                "method and the same settings only"
            )
    states = {name: part.state_dict() for name, part in parts.items()}
    sums = {key: _total({name: state[key] for name, state in states.items()}, weights) for key in states[first]}
    return parts[first].config, sums


def _of_products(model: nn.Module, weights: Mapping[str, float], parts: Parts) -> tuple[LoRAConfig, Tensors]:
    """Return the settings and the factors, under peft's names, of the LoRA that all low-rank adapters are together."""
    host = host_of(model)
    factors: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, part in parts.items():
        for module in dict.fromkeys(target.module for target in part.targets):
            weight = host.original(f"{module}.weight")
            factors.setdefault(module, []).append(_factors(name, part, module, weight, weights[name]))
    tensors: Tensors = {}
    for module, pairs in factors.items():
        tensors[f"{peft_lora.PREFIX}{module}.lora_A.weight"] = torch.cat([A for A, _ in pairs])
        tensors[f"{peft_lora.PREFIX}{module}.lora_B.weight"] = torch.cat([B for _, B in pairs], dim=1)
    ranks = {module: sum(len(A) for A, _ in pairs) for module, pairs in factors.items()}
    r = mode(ranks.values())
    other = {f"^{re.escape(module)}": rank for module, rank in ranks.items() if rank != r}
    config = LoRAConfig(
        r=r,
        lora_alpha=float(r),
        target_modules=tuple(factors),
        modules_to_save=tuple(dict.fromkeys(saved for part in parts.values() for saved in part.modules_to_save)),
        rank_pattern=other,
        alpha_pattern={key: float(rank) for key, rank in other.items()},
    )
    return config, tensors


@torch.no_grad()
def _factors(name: str, part: Adapter, module: str, weight: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return A (R, d_in) and B (d_out, R) of which the product is all that an adapter adds to a map, by its weight."""
    low = cast("LowRankAdapter", part)
    try:
        A, B = low.lora_form(module, weight)
    except PccloraError as error:
        raise PccloraError(f"adapter '{name}': {_no_sum(part)}") from error
    R = len(A)
    scale = low.lora_alpha(R, module) / (sqrt(R) if low.peft_settings.get("use_rslora") else R)
    return A, share * scale * B


def _beside(model: nn.Module, weights: Mapping[str, float], parts: Parts, head: str | None) -> Tensors:
    """Return what the combination has of each tensor of the model that any of its parts trains or moves."""
    host = host_of(model)
    chosen = {key for part in parts.values() for names in tensors_inside(model, part.modules_to_save) for key in names}
    found: Tensors = {}
    for key in dict.fromkeys(k for part in parts.values() for k in (*part.trained_parameters, *part.trained_buffers)):
        original = host.original(key)
        own = {name: host.copy_of(name, key).detach() for name in parts if key in host.aside[name]}
        if head is not None and key in chosen:
            found[key] = own.get(head, original)
        elif original.is_floating_point():
            found[key] = _total(own, weights, original)
        else:  # a count of batches
            found[key] = max(own.items(), key=lambda item: weights[item[0]])[1]
        if key.endswith("running_var") and (found[key] < 0).any():
            raise PccloraError(
                f"'{key}' of these adapters has a negative sum; choose a head, as head='{next(iter(own))}'"
            )
    return found


@torch.no_grad()
def _total(own: Mapping[str, Tensor], weights: Mapping[str, float], base: Tensor | None = None) -> Tensor:
    """Return base + sum_i w_i (own_i - base), rounded once."""
    like = next(iter(own.values()))
    start = torch.zeros_like(like, dtype=torch.float64) if base is None else base.double()
    total = sum((weights[name] * (tensor.double() - start) for name, tensor in own.items()), start=start)
    return total.to(like.dtype)
