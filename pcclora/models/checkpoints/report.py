"""What a checkpoint gave to a model, and the checks of single tensors that every file goes through."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pcclora.errors import PccloraError


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
        head_loaded: Whether the head of the model's task came from the file.
        groups: Of a network of a paper's size: how it cuts a cloud, beside how the paper's did.
    """

    path: str
    family: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    head_loaded: bool
    groups: str = ""

    def __str__(self) -> str:
        lines = [f"{self.path} ({self.family}): {len(self.loaded)} tensors loaded", *self.notes]
        lines += [self.groups] if self.groups else []
        for title, keys in (("not in the file, freshly initialised", self.missing), ("unknown", self.unexpected)):
            if keys:
                lines.append(f"{title}: {', '.join(summary(keys))}")
        return "\n  ".join(lines)


def check_tensors(state: Mapping[str, Tensor], usable: Mapping[str, Tensor], where: str, name: str) -> None:
    """Refuse tensors that would load wrongly.

    Args:
        state: The model's state dict.
        usable: What the file has for it, under the model's keys.
        where: The file, for messages.
        name: The model, for messages.

    Raises:
        PccloraError: If one has another shape or kind of number, or holds NaN.
    """
    for key, value in usable.items():
        if value.shape != state[key].shape:
            raise PccloraError(
                f"{where}: '{key}' is {tuple(value.shape)}, model '{name}' has {tuple(state[key].shape)}; the file is "
                "of another architecture: name the right model, or give the widths it was trained with"
            )
        if value.is_floating_point() != state[key].is_floating_point():
            expected = state[key].dtype
            raise PccloraError(f"{where}: '{key}' is {value.dtype}, {expected} is expected; the file is damaged")
        if not bool(torch.isfinite(value.float() if value.itemsize == 1 else value).all()):  # 8 bits know no isfinite
            raise PccloraError(f"{where}: '{key}' holds NaN or infinite numbers; take another file")


def summary(keys: Iterable[str], limit: int = 6) -> list[str]:
    """Shorten a list of keys to stems with counts, as ``MAE_decoder.* (46)`` or ``blocks.*.norm1_contrast.* (24)``."""
    stems = Counter(re.sub(r"^(?:blocks\.\d+\.(\w+)|(\w+)).*", _stem, key) for key in keys)
    names = [stem if count == 1 else f"{stem}.* ({count})" for stem, count in stems.items()]
    return names if len(names) <= limit else [*names[:limit], f"and {len(names) - limit} more"]


def _stem(match: re.Match[str]) -> str:
    return match[2] or f"blocks.*.{match[1]}"
