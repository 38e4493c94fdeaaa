"""Weights of vision transformers from files: timm's, the papers' own, the original ``.npz``, and a run's.

Dosovitskiy et al., ViT (arXiv 2010.11929) and Steiner et al., AugReg (arXiv 2106.10270) released ``.npz`` files of JAX;
what is read of them equals timm's own reading. What timm does to a file of its family (renaming, resampling of the
position embedding, bicubic) is done by timm. The trunk must be whole, and of this architecture.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, cat

from pcclora.errors import PccloraError
from pcclora.models.backbone import Backbone
from pcclora.models.checkpoints.file import read_checkpoint
from pcclora.models.checkpoints.keys import unknown_prefix, unwrapped
from pcclora.models.checkpoints.report import LoadReport, check_tensors, summary
from pcclora.models.images.from_timm import timm_filter
from pcclora.registry import MODELS

PRETRAINING = re.compile(r"mask_token|decoder_|pre_logits\.|lm_head\.")  # no part of a classifier
PATCHES = "patch_embed.proj.weight"


def load_image_checkpoint(model: Backbone, path: str | Path) -> LoadReport:
    """Fill a model of images from a file; :func:`~pcclora.models.load_checkpoint` calls it.

    Args:
        model: From :func:`~pcclora.models.create_model`.
        path: ``.safetensors``, ``.pth``, ``.bin`` or ``.npz``.

    Raises:
        PccloraError: If the file cannot be read, lacks a tensor of the trunk, or has one that this model has not, of
            another shape or with a NaN. The model is unchanged then.
    """
    where, name, state = str(path), MODELS.name_of(model.config), model.state_dict()
    state = {key: value for key, value in state.items() if not key.startswith("adapters.")}
    stored, notes = unwrapped(read_checkpoint(path), where)
    stored = from_jax(stored, where) if any(key.endswith("embedding/kernel") for key in stored) else stored
    if PATCHES in stored and PATCHES in state and stored[PATCHES].ndim == state[PATCHES].ndim:
        check_tensors(state, {PATCHES: stored[PATCHES]}, where, name)  # timm would resample the patches, silently
    weights = _filtered(model, stored, where, name)
    notes += [
        f"{key} fitted from {tuple(stored[key].shape)} to {tuple(value.shape)}"
        for key, value in weights.items()
        if key in stored and value.shape != stored[key].shape
    ]
    known = [key for key in {**stored, **weights} if PRETRAINING.match(key) and key not in state]
    notes += [f"not part of this model: {', '.join(summary(known))}"] if known else []
    head = _foreign_head(model, weights, state, notes)
    usable = {key: value for key, value in weights.items() if key not in {*known, *head}}
    _refuse_others(model, state, usable, where, name)
    check_tensors(state, usable, where, name)
    model.load_state_dict(usable, strict=False)
    return LoadReport(
        path=where,
        family=type(model).__name__,
        loaded=tuple(usable),
        missing=tuple(key for key in state if key not in usable),
        unexpected=(),
        dropped=(*head, *known),
        notes=tuple(notes),
        head_loaded=all(f"{part}.weight" in usable for part in model.head_names),
    )


def from_jax(arrays: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Bring the arrays of an original ViT to timm's keys.

    Args:
        arrays: ``Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel`` and so on; a kernel is (inputs, outputs).
        where: The file, for messages.

    Raises:
        PccloraError: If an array is absent or unknown.
    """
    left = {key.removeprefix("opt/target/"): value for key, value in arrays.items()}
    found: dict[str, Tensor] = {}
    try:
        found["cls_token"] = left.pop("cls")
        found["pos_embed"] = left.pop("Transformer/posembed_input/pos_embedding")
        found[PATCHES] = left.pop("embedding/kernel").permute(3, 2, 0, 1)
        found["patch_embed.proj.bias"] = left.pop("embedding/bias")
        _take_norm(left, found, "Transformer/encoder_norm", "norm")
        for block in range(sum(key.endswith("LayerNorm_0/scale") for key in left)):
            _take_block(left, found, f"Transformer/encoderblock_{block}", f"blocks.{block}")
        for part in ("pre_logits", "head"):
            if f"{part}/kernel" in left:
                _take_linear(left, found, part, part)
    except KeyError as error:
        raise PccloraError(
            f"{where}: no {error} in it; the .npz files of the original ViT are read, no others"
        ) from None
    if left:
        raise PccloraError(f"{where}: {', '.join(list(left)[:3])} are not of a ViT; the hybrid .npz files are not read")
    return {key: value.contiguous() for key, value in found.items()}


def _take_block(left: dict[str, Tensor], found: dict[str, Tensor], there: str, here: str) -> None:
    _take_norm(left, found, f"{there}/LayerNorm_0", f"{here}.norm1")
    _take_norm(left, found, f"{there}/LayerNorm_2", f"{here}.norm2")
    attention = f"{there}/MultiHeadDotProductAttention_1"  # kernels (C, heads, C / heads), of the output the reverse
    maps = [f"{attention}/{part}" for part in ("query", "key", "value")]
    found[f"{here}.attn.qkv.weight"] = cat([left.pop(f"{part}/kernel").flatten(1).T for part in maps])
    found[f"{here}.attn.qkv.bias"] = cat([left.pop(f"{part}/bias").flatten() for part in maps])
    found[f"{here}.attn.proj.weight"] = left.pop(f"{attention}/out/kernel").flatten(0, 1).T
    found[f"{here}.attn.proj.bias"] = left.pop(f"{attention}/out/bias")
    for i in range(2):
        _take_linear(left, found, f"{there}/MlpBlock_3/Dense_{i}", f"{here}.mlp.fc{i + 1}")


def _take_norm(left: dict[str, Tensor], found: dict[str, Tensor], there: str, here: str) -> None:
    found[f"{here}.weight"], found[f"{here}.bias"] = left.pop(f"{there}/scale"), left.pop(f"{there}/bias")


def _take_linear(left: dict[str, Tensor], found: dict[str, Tensor], there: str, here: str) -> None:
    found[f"{here}.weight"], found[f"{here}.bias"] = left.pop(f"{there}/kernel").T, left.pop(f"{there}/bias")


def _filtered(model: Backbone, stored: Mapping[str, Tensor], where: str, name: str) -> dict[str, Tensor]:
    try:
        return timm_filter(model)(dict(stored), model)
    except Exception as error:  # it takes its family's files for granted, and fails in any way on others
        raise PccloraError(
            f"{where}: not of the architecture of model '{name}' ({type(error).__name__}: {error}); it has "
            f"{', '.join(summary(stored))}: name the right model"
        ) from error


def _foreign_head(
    model: Backbone, weights: Mapping[str, Tensor], state: Mapping[str, Tensor], notes: list[str]
) -> list[str]:
    """Return the keys of a head with another number of classes."""
    foreign: list[str] = []
    for part in model.head_names:
        keys = [key for key in (f"{part}.weight", f"{part}.bias") if key in weights]
        if any(weights[key].shape[:1] != state[key].shape[:1] for key in keys):
            notes.append(f"{part} dropped: {len(weights[keys[0]])} classes, this model has {model.num_classes}")
            foreign += keys
    return foreign


def _refuse_others(
    model: Backbone, state: Mapping[str, Tensor], usable: Mapping[str, Tensor], where: str, name: str
) -> None:
    """Refuse a file that has more than the model, or less than its trunk and whole heads."""
    more = [key for key in usable if key not in state]
    heads = {part: [key for key in state if key.startswith(f"{part}.")] for part in model.head_names}
    fresh = {key for keys in heads.values() if not any(key in usable for key in keys) for key in keys}
    less = [key for key in state if key not in usable and key not in fresh]
    for keys, what in ((more, "which this model has not"), (less, "which it needs, are not in the file")):
        if keys:
            prefix = unknown_prefix(usable, less)
            raise PccloraError(
                f"{where}: not of the architecture of model '{name}': {', '.join(summary(keys))}, {what}{prefix}; name "
                "the right model, or give the depth and widths it was trained with"
            )
