"""What summary.json must hold: of a run, of an evaluation of one, or of several seeds."""

from pathlib import Path
from typing import Any

from pcclora.atomic import read_json
from pcclora.errors import PccloraError
from pcclora.forms import check_form

MOST_CLASSES = 100_000
"""A head of more is no head: ImageNet-21k has 21,843 classes."""

_FIGURE = (float, {"mean": float, "std": (float, None), "values": [float]})
SEARCH = {"chosen": [str], "by": str, "on": int, "trained_on": int, "points": [dict]}
"""Of search.json, and of the entry that a summary has of it."""

_TOGETHER = {"size": ("interpolation",), "mean": ("std", "normalization")}
"""What a protocol says of images, entries that are read together."""
_COMMON = {"task": str, "data": str, "model": str, "metrics": {"*": _FIGURE}, "protocol": {"augmentation": str}}
_EVALUATED = _COMMON | {
    "samples": {"*": int},
    "checkpoint": str,
    "checkpoint_sha256": (str, None),
    "adapter": {"name": str},
    "classes": [str],
    "parts?": {"names": [str], "of_class": [[int]]},
    "categories?": {"*": {"iou": _FIGURE, "shapes": int}},
    "category_parts?": {"*": {"*": {"iou": float, "shapes": int}}},
    "constant?": {"*": float},
    "search?": SEARCH,
    "data_sha256?": {"*": str},
    "calibration?": {"error": float, "error_before": float, "temperature": float, "fitted_on": int, "split": str},
    "corruptions?": {
        **{"set": str, "severities": [int], "accuracy": {"*": [float]}},
        **{"mean": float, "clean": float, "relative": float},
    },
}
_COSTS = {"train_seconds": _FIGURE, "peak_memory_mb": _FIGURE}
_ADAPTED = (
    _EVALUATED
    | _COSTS
    | {
        "samples": {"train": int, "test": int},
        "parameters": {"total": int, "trained": int, "share": float, "head?": int, "channels?": int},
        "gmacs": {"total": float, "literature": float},
        "seconds_per_epoch": _FIGURE,
        "adapter_bytes": int,
        "selected_epoch?": int,
    }
)
_PRETRAINED = _COMMON | _COSTS | {"samples": {"train": int}, "parameters": {"total": int}, "criterion": str}


def read_summary(path: Path, *, evaluation: bool = False, remedy: str) -> dict[str, Any]:
    """Read summary.json.

    Args:
        path: The file.
        evaluation: It is of an evaluation, which trained nothing.
        remedy: What to do if it is damaged.

    Raises:
        PccloraError: If it is absent, damaged, or lacks something that a summary has.
    """
    held = read_json(path)
    pretrained = held.get("task") == "pretraining"
    form = _EVALUATED if evaluation else _PRETRAINED if pretrained else _ADAPTED
    check_form(held, form, path, remedy=remedy)
    for key, others in _TOGETHER.items():
        check_form(
            held["protocol"], dict.fromkeys(others, object) if key in held["protocol"] else {}, path, remedy=remedy
        )
    if not pretrained:
        _check_labels(held, path, remedy)
    return held


def _check_labels(held: dict[str, Any], path: Path, remedy: str) -> None:
    classes, parts = held["classes"], held.get("parts")
    if not 0 < len(classes) <= MOST_CLASSES or len(set(classes)) < len(classes):
        raise PccloraError(
            f"{path}: classes are {len(classes):,} names, {len(set(classes)):,} of them different; 1 to "
            f"{MOST_CLASSES:,} different ones are needed: {remedy}"
        )
    if parts is not None and len(parts["of_class"]) != len(classes):
        raise PccloraError(
            f"{path}: parts are given of {len(parts['of_class'])} classes, there are {len(classes)}: {remedy}"
        )
