"""Load a released checkpoint, unmodified; nothing loads silently.

The original loaders pass ``strict=False`` and so load nothing without a word when a file is of another family. Here a
wrong family, a shape mismatch, a trunk that is only partly filled, or a NaN is an error, and nothing has changed yet
when it is raised.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import CHANNELS, CLS_TOKENS, Backbone
from pcclora.models.checkpoints.file import read_checkpoint
from pcclora.models.checkpoints.keys import (
    CONTRAST,
    HEAD,
    HEADS,
    PRETRAINING,
    canonical,
    merge_point_lora,
    refuse_family,
    unknown_prefix,
    unwrapped,
)
from pcclora.models.checkpoints.report import LoadReport, check_tensors, summary
from pcclora.models.images.checkpoints import load_image_checkpoint
from pcclora.models.images.from_timm import pretrained_file
from pcclora.paths import file_sha256
from pcclora.registry import MODELS

WEIGHTS = Path(str(resources.files("pcclora.models") / "weights"))
BUNDLED = {
    "point_mae_tiny": "b989cfbf62497774493eb6c1c4750205756f421264d6133979898a53adb6b75a",
    "vit_mini": "eca5dccf6d88d3951ed39badfb509f4a1e01cea2e85bc406fe549ff7c3272afd",
}
"""The weights that come with the package, and the sha256 of each file: who changes a file changes its line."""
PUBLISHED = {
    "classification": "64 groups (1,024 points), 128 (2,048, ScanObjectNN) or 512 (8,192)",
    "part segmentation": "128 groups (2,048 points)",
    "pre-training": "64 groups (1,024 points)",
}
"""How many groups of 32 the papers cut clouds into, by the task of a file."""
POINT_BERT_CLASSIFIES = "64 groups (1,024 points, ScanObjectNN too), 256 (4,096) or 512 (8,192)"


def load_checkpoint(model: nn.Module, path: str | Path) -> LoadReport:
    """Fill a model from a released file, or from one that pcclora wrote.

    Args:
        model: From :func:`create_model`.
        path: A ``.pth`` or ``.safetensors`` file in any of the released containers and key forms; for a model of images
            an ``.npz`` of the original ViT as well.

    Returns:
        What was loaded, what was expected to be missing, what was not used.

    Raises:
        PccloraError: If the file cannot be read, is of another family, has a tensor of another shape or with a NaN, or
            lacks a part of the trunk. The model is unchanged then.

    Examples:
        >>> import torch, pcclora
        >>> torch.save(pcclora.create_model("point_mae_tiny", num_classes=16).state_dict(), "trained.pth")
        >>> print(pcclora.load_checkpoint(pcclora.create_model("point_mae_tiny", num_classes=16), "trained.pth"))
        trained.pth (Point-MAE or ACT, which have the same keys): 108 tensors loaded
    """
    if not isinstance(model, Backbone):
        raise PccloraError(f"{type(model).__name__} is not a pcclora backbone; make the model with create_model")
    if model.holds == "images":
        return load_image_checkpoint(model, path)
    where, name = str(path), MODELS.name_of(model.config)
    weights, notes = unwrapped(read_checkpoint(path), where)
    adapters: Any = getattr(model, "adapters", None)
    released = None if adapters is None else adapters.read_released(weights, where)
    weights, merged = merge_point_lora(weights if released is None else released.rest, where)
    weights, family = canonical(weights, where)
    if family is not None:
        refuse_family(family, model.families, name, where)
    targets = {key.removeprefix("MAE_encoder."): key for key in model.state_dict() if not key.startswith("adapters.")}
    if merged:
        notes.append(f"{merged} PointLoRA maps merged (W + B A); its prompts and token selection have no counterpart")
    task = (_head(_heads(weights)) or ("pre-training", ""))[0]
    weights, dropped = _drop_foreign_head(model, weights, targets, notes)
    known, unexpected = _split({k: v for k, v in weights.items() if k not in targets}, _is_known)
    if known:
        notes.append(f"not part of this model: {', '.join(summary(known))}")
    usable = {targets[key]: value for key, value in weights.items() if key in targets}
    check_tensors(model.state_dict(), usable, where, name)
    missing = _expected_missing(model, targets.values(), usable, weights, where)
    model.load_state_dict(usable, strict=False)
    if released is not None and released.method:
        released.put()
        notes.append(f"{len(released.own)} tensors of {released.method} loaded into the adapter")
        if released.dead:
            notes.append(f"never read by the original code: {', '.join(summary(released.dead))}")
    return LoadReport(
        path=where,
        family=family or _unmarked(model),
        loaded=tuple(usable),
        missing=missing,
        unexpected=tuple(unexpected),
        dropped=(*dropped, *known),
        notes=tuple(notes),
        head_loaded=any(HEADS.match(key) for key in usable),
        groups=_groups(model, task, family),
    )


def _is_known(key: str) -> bool:
    return bool(PRETRAINING.match(key) or CONTRAST.match(key)) or key in CLS_TOKENS


def weights_file(config: object, source: str | Path) -> Path | None:
    """Return the file that a run's ``checkpoint`` means, or None for random weights.

    Args:
        config: The model's config.
        source: ``none``, ``bundled`` (they come with the package), ``pretrained`` (timm's own of this name, fetched
            from its hub once), or a file.

    Raises:
        PccloraError: If the model has no such weights, or they cannot be fetched.
    """
    name = MODELS.name_of(config)
    if source == "pretrained" and not name.startswith("timm/"):
        raise PccloraError(
            f"model '{name}' has no weights on a hub: give checkpoint=bundled where it has them, a file, or "
            "checkpoint=none for random ones"
        )
    if source == "pretrained":
        return pretrained_file(name.removeprefix("timm/"))
    if source == "none":
        return None
    return bundled_weights(name) if source == "bundled" else Path(os.path.expanduser(source))


def bundled_weights(name: str) -> Path:
    """Return the weights file that comes with the package for a model.

    Args:
        name: The model's registered name.

    Raises:
        PccloraError: If there is none, or it is not what was released.
    """
    if name not in BUNDLED:
        raise PccloraError(
            f"model '{name}' has no bundled weights (bundled: {', '.join(BUNDLED)}); give checkpoint=FILE, see "
            "docs/checkpoints.md, or checkpoint=none for random weights"
        )
    file = WEIGHTS / f"{name}.safetensors"
    if not file.is_file() or file_sha256(file) != BUNDLED[name]:
        wrong = "damaged: its sha256 is not that of the release" if file.is_file() else "absent"
        raise PccloraError(f"{file}: {wrong}; install pcclora again")
    return file


def _drop_foreign_head(
    model: Backbone, weights: dict[str, Tensor], targets: dict[str, str], notes: list[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Take out a head that is not this model's: of another task, with other outputs, layers or inputs."""
    state = model.state_dict()
    theirs, ours = _head(_heads(weights)), _head(_heads({key: state[target] for key, target in targets.items()}))
    if theirs is None or theirs == ours:
        return weights, []
    here = ours[1] if ours is not None and ours[0] == theirs[0] else "none"
    notes.append(f"{theirs[0]} head dropped: {theirs[1]}, this model has {here}")
    return _split(weights, lambda key: not HEADS.match(key))


def _unmarked(model: Backbone) -> str:
    """Say whose keys those are that no mark tells apart."""
    same = {"Point-MAE", "ACT"}.intersection(model.families)
    return "Point-MAE or ACT, which have the same keys" if same else " or ".join(model.families)


def _groups(model: Backbone, task: str, family: str | None) -> str:
    """Say how a model of a paper's size cuts a cloud, beside how the paper did: other groups give other numbers."""
    config = model.config
    if "tokenizer" not in model.parts or (config.dim, config.depth) != (384, 12):
        return ""
    bert = family == "Point-BERT" and task == "classification"
    published = POINT_BERT_CLASSIFIES if bert else PUBLISHED[task]
    return f"{config.num_groups} groups of {config.group_size} points in use; published {task}: {published}, of 32"


def _heads(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if HEADS.match(key)}


def _head(tensors: dict[str, Tensor]) -> tuple[str, str] | None:
    """Return a head's task and its outputs, or None for no head."""
    shapes = {key: value.shape for key, value in tensors.items() if key.endswith("weight") and value.ndim > 1}
    if not shapes:
        return None
    layers = list(shapes.values())
    if any(key.startswith(HEAD) for key in shapes):
        return "classification", f"{len(layers)} layers from {layers[0][1]} features to {layers[-1][0]} classes"
    inputs = [shapes.get(f"propagation_{level}.mlp_convs.0.weight", (0, 0))[1] for level in (0, 1)]
    # Point-BERT gives the category to propagation_0 alone, one-hot
    categories = shapes["label_conv.0.weight"][1] if "label_conv.0.weight" in shapes else inputs[0] - inputs[1]
    parts = next((shapes[key][0] for key in ("convs3.weight", "conv2.weight") if key in shapes), 0)
    return "part segmentation", f"{parts} parts of {categories} categories"


def _split(weights: dict[str, Tensor], keep: Callable[[str], bool]) -> tuple[dict[str, Tensor], list[str]]:
    return {key: value for key, value in weights.items() if keep(key)}, [key for key in weights if not keep(key)]


def _expected_missing(
    model: Backbone, targets: Iterable[str], loaded: Iterable[str], stored: Iterable[str], where: str
) -> tuple[str, ...]:
    """Return which of the model's keys the file may lack and lacks: each part whole, and never of the trunk."""
    parts: dict[str, list[str]] = {"trunk": [], "head": [], "pre-training decoder": [], CHANNELS: []}
    for key in targets:
        if key.startswith(f"{CHANNELS}."):
            parts[CHANNELS].append(key)
        elif key not in model.fresh_tokens:
            pretraining = "pre-training decoder" if PRETRAINING.match(key) else "trunk"
            parts["head" if HEADS.match(key) else pretraining].append(key)
    found = set(loaded)
    for part, keys in parts.items():
        absent = [key for key in keys if key not in found]
        if absent and (part == "trunk" or len(absent) < len(keys)):
            prefix = unknown_prefix(stored, (key.removeprefix("MAE_encoder.") for key in absent))
            raise PccloraError(
                f"{where}: {len(keys) - len(absent)} of the {len(keys)} tensors of the {part} are in this file, "
                f"{len(absent)} are not ({', '.join(summary(absent))}){prefix}; it is not a whole "
                f"{' or '.join(model.families)} checkpoint: take the official file, or create the model with the depth "
                "it was trained with"
            )
    return tuple(key for key in targets if key not in found)
