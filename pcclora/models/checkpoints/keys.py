"""Whose checkpoint is it? Families are told apart by their keys, never by a name in a YAML file.

Every released form is brought to one: the keys of the trunk without a prefix (``encoder.*``, ``pos_embed.*``,
``blocks.i.*``, which the files call ``blocks.blocks.i.*``, ``norm.*``, ``cls_token``), all others as they are.
"""

import re
from collections.abc import Iterable

from torch import Tensor

from pcclora.errors import PccloraError
from pcclora.models.checkpoints.report import summary
from pcclora.registry import ADAPTERS

WRAPPERS = ("teacher", "student", "backbone", "model")
"""What DINO, Lightning and their kin keep a network under; the teacher is what DINO is evaluated by."""
_PLAIN = re.compile(r"^((module|_orig_mod|base_model)\.)+")  # of parallel and compiled models, and of a run

MODEL_OF_FAMILY = {"Point-MAE": "point_mae", "ACT": "act", "ReCon": "recon", "Point-BERT": "point_bert"}

_ACT_PARTS = r"(label_conv|propagation_0|convs\d|bns\d)_cls\."  # its names of Point-MAE's part-segmentation head

# First match wins: the specific before the general. None of the keys of one family occurs in those below it.
_MARKS = (
    (r"h_encoder\.", "Point-M2AE"),
    (r"blocks\.\d+\.cls\.", "Point-FEMAE"),
    (r"blocks\.cls\.", "IDPT"),
    (r".*(tfts_|Adapter)", "DAPT"),
    (r".*(shape_feature_mlp|point_prompt|shift_net)", "GAPrompt"),
    (r".*adapt", "PointGST"),
    (r".*prompt_all_mlp", "PPT"),
    (r"cls_prompt_list", "VPT_deep"),
    (r".*_contrast\.", "ReCon"),
    (r"reduce_dim\.|dgcnn_pro_", "Point-BERT"),
    (_ACT_PARTS, "ACT"),
    (r"codebook$", "dVAE"),
)
_PREFIXES = {"MAE_encoder.": "Point-MAE", "ACT_encoder.": "ACT"}

# What belongs to pre-training alone, and is dropped without a word of concern.
PRETRAINING = re.compile(
    r"mask_token|decoder_pos_embed\.|MAE_decoder\.|ACT_decoder\.|increase_dim\.|lm_head\.|cls_head\.|queue|dvae\.|"
    r"transformer_[qk]\.|(img|text)_(encoder|proj)\.|cls_proj\.|logit_scale"
)
CONTRAST = re.compile(r"(img|text)_(token|pos)$|.*_contrast\.")
HEAD = "cls_head_finetune"
HEADS = re.compile(rf"{HEAD}\.|(label_conv|propagation_\d|dgcnn_pro_\d|convs?\d|bns?\d)\.")  # of every task


def unwrapped(weights: dict[str, Tensor], where: str) -> tuple[dict[str, Tensor], list[str]]:
    """Take a network out of what a training code wrapped around it.

    Args:
        weights: The state dict as stored.
        where: The file, for messages.

    Returns:
        The weights under their own names; and a line for each wrapper of which something was left out.

    Raises:
        PccloraError: If two keys become one, or the model had an adapter of ours on it.
    """
    notes: list[str] = []
    while True:
        weights = _rename(weights, [(key, _PLAIN.sub("", key)) for key in weights], where)
        prefix = next((name for name in WRAPPERS if any(key.startswith(f"{name}.") for key in weights)), None)
        if any(key.startswith("adapters.") for key in weights):
            raise PccloraError(
                f"{where}: the state dict of a model with its adapter; give the checkpoint of the base here, and to "
                "load_adapter the folder that save_adapter writes"
            )
        if prefix is None or any(key.startswith("blocks.") for key in weights):
            return weights, notes
        inside = {k.removeprefix(f"{prefix}."): v for k, v in weights.items() if k.startswith(f"{prefix}.")}
        if len(inside) < len(weights):
            beside = summary(key for key in weights if not key.startswith(f"{prefix}."))
            notes.append(f"taken from '{prefix}.'; left out beside it: {', '.join(beside)}")
        weights = inside


def unknown_prefix(keys: Iterable[str], missing: Iterable[str]) -> str:
    """Say which prefix missing keys have in a file, as the end of a message; nothing if they are not there so.

    Args:
        keys: Of the file.
        missing: What was looked for.
    """
    wanted = {key for key in missing if "." in key}
    for key in keys:
        parts = key.split(".")
        for start in range(1, len(parts) - 1):
            if ".".join(parts[start:]) in wanted:
                return f"; its names begin with '{'.'.join(parts[:start])}.': save them without"
    return ""


def canonical(weights: dict[str, Tensor], where: str) -> tuple[dict[str, Tensor], str | None]:
    """Bring a released file's keys to the one form.

    Args:
        weights: The state dict, unwrapped.
        where: The file, for messages.

    Returns:
        The weights under canonical keys; and the family, None where Point-MAE and ACT cannot be told apart (their
        fine-tuned files have the same keys, and are the same network).

    Raises:
        PccloraError: If two keys become one.
    """
    plain = _point_encoder(weights, where)
    for branch in ("transformer_q.", "transformer_k."):  # the trained one, else its moving average
        if any(key.startswith(branch) for key in plain):
            plain = {key.removeprefix(branch): value for key, value in plain.items() if key.startswith(branch)}
            break
    prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in plain)), "")
    plain = _rename(
        plain, [(key, re.sub(r"^blocks\.blocks\.", "blocks.", key.removeprefix(prefix))) for key in plain], where
    )
    family = family_of(plain) or _PREFIXES.get(prefix)
    return _rename(plain, [(key, re.sub(f"^{_ACT_PARTS}", r"\1.", key)) for key in plain], where), family


def family_of(keys: Iterable[str]) -> str | None:
    """Return the family that marks of its own give away, or None."""
    names = list(keys)
    return next((family for mark, family in _MARKS if any(re.match(mark, name) for name in names)), None)


def refuse_family(family: str, accepted: tuple[str, ...], model: str, where: str) -> None:
    """Raise unless a model that accepts some families can read a file of ``family``.

    Raises:
        PccloraError: With the model to use instead, where there is one.
    """
    if family in accepted:
        return
    if family in MODEL_OF_FAMILY:
        remedy = f"use create_model('{MODEL_OF_FAMILY[family]}')"
    elif family.lower() in ADAPTERS.names():
        remedy = f"attach pcclora.adapter_config('{family.lower()}') to it first, whose tensors the file holds"
    else:
        remedy = "it has no counterpart here; give the checkpoint of its backbone"
    raise PccloraError(f"{where}: a {family} checkpoint; model '{model}' reads {' or '.join(accepted)}: {remedy}")


def merge_point_lora(weights: dict[str, Tensor], where: str) -> tuple[dict[str, Tensor], int]:
    """Merge PointLoRA's adapters into the linear maps they sit on: W + B A, without a factor.

    Beside ``qkv.linear.weight`` such a file holds a ``qkv.weight`` of shape (1,): the gate of a prompt, no weight.

    Args:
        weights: The state dict, unwrapped.
        where: The file, for messages.

    Returns:
        The weights with plain linear maps, and how many were merged (0: not a PointLoRA file).

    Raises:
        PccloraError: If an adapter has no linear map, or is not of its shape.
    """
    bases = [key.removesuffix("lora_A") for key in weights if key.endswith(".lora_A")]
    merged = {key: value for key, value in weights.items() if not key.startswith(tuple(bases))} if bases else weights
    for base in bases:
        if f"{base}linear.weight" not in weights or f"{base}lora_B" not in weights:
            raise PccloraError(f"{where}: PointLoRA's {base}lora_A has no {base}linear.weight and lora_B beside it")
        weight, A, B = (weights[f"{base}{part}"] for part in ("linear.weight", "lora_A", "lora_B"))
        if A.ndim != 2 or B.ndim != 2 or A.shape[0] != B.shape[1] or weight.shape != (B.shape[0], A.shape[1]):
            raise PccloraError(f"{where}: PointLoRA's {base}lora_A and lora_B do not fit {base}linear.weight")
        merged[f"{base}weight"] = weight + B @ A
        if f"{base}linear.bias" in weights:
            merged[f"{base}bias"] = weights[f"{base}linear.bias"]
    prompts = re.compile(r".*(prompt_|lora_mask_predictor)")
    return {key: value for key, value in merged.items() if not (bases and prompts.match(key))}, len(bases)


def _point_encoder(weights: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Take the point branch of a file that holds several encoders; some name the blocks ``encoder``."""
    if not any(key.startswith("point_encoder.") for key in weights):
        return weights
    branch = {k.removeprefix("point_encoder."): v for k, v in weights.items() if k.startswith("point_encoder.")}
    if not any(key.startswith("patch_embed.") for key in branch):
        return branch
    pairs = [(k, re.sub(r"^patch_embed\.", "encoder.", re.sub(r"^encoder\.", "blocks.", k))) for k in branch]
    return _rename(branch, pairs, where)


def _rename(weights: dict[str, Tensor], pairs: list[tuple[str, str]], where: str) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for old, new in pairs:
        if new in renamed:
            raise PccloraError(f"{where}: '{old}' and another key both mean '{new}'; the file mixes two models")
        renamed[new] = weights[old]
    return renamed
