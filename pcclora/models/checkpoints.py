"""Load a released checkpoint, unmodified; nothing loads silently.

The original loaders pass ``strict=False`` and so load nothing without a word when a file is of another family. Here a
wrong family, a shape mismatch, a trunk that is only partly filled, or a NaN is an error, and nothing has changed yet
when it is raised.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import CLS_TOKENS, Backbone
from pcclora.models.checkpoint_file import read_checkpoint
from pcclora.models.checkpoint_keys import (
    CONTRAST,
    HEAD,
    HEADS,
    PRETRAINING,
    canonical,
    merge_point_lora,
    refuse_family,
)
from pcclora.registry import MODELS


@dataclass(frozen=True)
class LoadReport:
    """What a checkpoint gave to a model.

    Args:
        path: The file.
        family: Whose it is, as ``"Point-MAE"``.
        loaded: The model's keys that were filled.
        missing: The model's keys that the file has not, as expected; they keep their initialisation.
        unexpected: Keys of the file that mean nothing to this family.
        dropped: Keys of the file that are known but not part of this model.
        notes: One line for each thing dropped or changed.
    """

    path: str
    family: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def head_loaded(self) -> bool:
        """Whether the head of the model's task came from the file."""
        return any(HEADS.match(key) for key in self.loaded)

    def __str__(self) -> str:
        lines = [f"{self.path} ({self.family}): {len(self.loaded)} tensors loaded", *self.notes]
        for title, keys in (("not in the file, freshly initialised", self.missing), ("unknown", self.unexpected)):
            if keys:
                lines.append(f"{title}: {', '.join(_summary(keys))}")
        return "\n  ".join(lines)


def load_checkpoint(model: nn.Module, path: str | Path) -> LoadReport:
    """Fill a model from a released file, or from one that pcclora wrote.

    Args:
        model: From :func:`create_model`.
        path: A ``.pth`` or ``.safetensors`` file in any of the released containers and key forms.

    Returns:
        What was loaded, what was expected to be missing, what was not used.

    Raises:
        PccloraError: If the file cannot be read, is of another family, has a tensor of another shape or with a NaN, or
            lacks a part of the trunk. The model is unchanged then.
    """
    if not isinstance(model, Backbone):
        raise PccloraError(f"{type(model).__name__} is not a pcclora backbone; make the model with create_model")
    where, name = str(path), MODELS.name_of(model.config)
    weights, merged = merge_point_lora(read_checkpoint(path), where)
    weights, family = canonical(weights, where)
    if family is not None:
        refuse_family(family, model.families, name, where)
    targets = {key.removeprefix("MAE_encoder."): key for key in model.state_dict() if not key.startswith("adapters.")}
    notes = [f"{merged} PointLoRA maps merged (W + B A); its prompts and token selection have no counterpart here"]
    notes = notes if merged else []
    weights, dropped = _drop_foreign_head(model, weights, targets, notes)
    known, unexpected = _split({k: v for k, v in weights.items() if k not in targets}, _is_known)
    if known:
        notes.append(f"not part of this model: {', '.join(_summary(known))}")
    usable = {targets[key]: value for key, value in weights.items() if key in targets}
    _check_tensors(model, usable, where, name)
    missing = _expected_missing(model, targets.values(), usable, where)
    model.load_state_dict(usable, strict=False)
    return LoadReport(
        path=where,
        family=family or "Point-MAE or ACT, which have the same keys",
        loaded=tuple(usable),
        missing=missing,
        unexpected=tuple(unexpected),
        dropped=(*dropped, *known),
        notes=tuple(notes),
    )


def _is_known(key: str) -> bool:
    return bool(PRETRAINING.match(key) or CONTRAST.match(key)) or key in CLS_TOKENS


def bundled_weights(name: str) -> Path:
    """Return the weights file that comes with the package for a model.

    Args:
        name: The model's registered name.

    Raises:
        PccloraError: If there is none.
    """
    folder = resources.files("pcclora.models") / "weights"
    file = Path(str(folder / f"{name}.safetensors"))
    if not file.is_file():
        bundled = sorted(path.stem for path in Path(str(folder)).glob("*.safetensors"))
        raise PccloraError(
            f"model '{name}' has no bundled weights (bundled: {', '.join(bundled) or 'none in this installation'}); "
            "give checkpoint=FILE, see docs/checkpoints.md"
        )
    return file


def _drop_foreign_head(
    model: Backbone, weights: dict[str, Tensor], targets: dict[str, str], notes: list[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Take out a head that is not this model's: of another task, with other outputs, layers or inputs."""
    state = model.state_dict()
    theirs = _head({key: value for key, value in weights.items() if HEADS.match(key)})
    ours = _head({key: state[target] for key, target in targets.items() if HEADS.match(key)})
    if theirs is None or theirs == ours:
        return weights, []
    here = ours[1] if ours is not None and ours[0] == theirs[0] else "none"
    notes.append(f"{theirs[0]} head dropped: {theirs[1]}, this model has {here}")
    return _split(weights, lambda key: not HEADS.match(key))


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


def _check_tensors(model: Backbone, usable: dict[str, Tensor], where: str, name: str) -> None:
    """Refuse tensors that would load wrongly."""
    state = model.state_dict()
    for key, value in usable.items():
        if value.shape != state[key].shape:
            raise PccloraError(
                f"{where}: '{key}' is {tuple(value.shape)}, model '{name}' has {tuple(state[key].shape)}; the file is "
                "of another architecture: name the right model, or give the widths it was trained with"
            )
        if value.is_floating_point() != state[key].is_floating_point():
            expected = state[key].dtype
            raise PccloraError(f"{where}: '{key}' is {value.dtype}, {expected} is expected; the file is damaged")
        if not bool(torch.isfinite(value).all()):
            raise PccloraError(f"{where}: '{key}' holds NaN or infinite numbers; take another file")


def _expected_missing(model: Backbone, targets: Iterable[str], loaded: Iterable[str], where: str) -> tuple[str, ...]:
    """Return which of the model's keys the file may lack and lacks: each part whole, and never of the trunk."""
    parts: dict[str, list[str]] = {"trunk": [], "head": [], "pre-training decoder": []}
    for key in targets:
        if key not in model.fresh_tokens:
            pretraining = "pre-training decoder" if PRETRAINING.match(key) else "trunk"
            parts["head" if HEADS.match(key) else pretraining].append(key)
    found = set(loaded)
    for part, keys in parts.items():
        absent = [key for key in keys if key not in found]
        if absent and (part == "trunk" or len(absent) < len(keys)):
            raise PccloraError(
                f"{where}: {len(keys) - len(absent)} of the {len(keys)} tensors of the {part} are in this file, "
                f"{len(absent)} are not ({', '.join(_summary(absent))}); it is not a whole "
                f"{' or '.join(model.families)} checkpoint: take the official file, or create the model with the depth "
                "it was trained with"
            )
    return tuple(key for key in targets if key not in found)


def _summary(keys: Iterable[str], limit: int = 6) -> list[str]:
    """Shorten a list of keys to stems with counts, as ``MAE_decoder.* (46)`` or ``blocks.*.norm1_contrast.* (24)``."""
    stems = Counter(re.sub(r"^(?:blocks\.\d+\.(\w+)|(\w+)).*", _stem, key) for key in keys)
    names = [stem if count == 1 else f"{stem}.* ({count})" for stem, count in stems.items()]
    return names if len(names) <= limit else [*names[:limit], f"and {len(names) - limit} more"]


def _stem(match: re.Match[str]) -> str:
    return match[2] or f"blocks.*.{match[1]}"
