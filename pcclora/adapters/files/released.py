"""A method's own tensors in a checkpoint of its original code.

A method says in ``released_names`` what its original called its tensors: pattern of a key -> what it is here. Keys that
no pattern means go on to the model, as in any checkpoint.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pcclora.adapters.base import Adapter
from pcclora.adapters.files.fitting import fit
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS

_ROW = re.compile(r"(.*)\[(\d+)\]")


@dataclass
class Released:
    """What a checkpoint of original code holds for an adapter.

    Attributes:
        adapter: Which.
        method: The adapter's registered name; empty if the file has nothing of it.
        own: The adapter's tensors by their names here.
        rest: What the file holds beside them, for the model.
        dead: Keys of tensors that the original never reads.
    """

    adapter: Adapter | None
    method: str = ""
    own: dict[str, Tensor] = field(default_factory=dict)
    rest: dict[str, Tensor] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)

    @torch.no_grad()
    def put(self) -> None:
        """Put the adapter's tensors into it."""
        state = {} if self.adapter is None else self.adapter.state_dict()
        for key, value in self.own.items():
            state[key].copy_(value)


def method_of(keys: Mapping[str, Tensor]) -> str | None:
    """Return the method whose original code wrote these keys, by what only it has; None if there is none."""
    for name in ADAPTERS.names():
        mark = getattr(ADAPTERS.get(name).factory, "released_mark", "")
        if mark and any(re.match(mark, key) for key in keys):
            return name
    return None


def read_released(adapter: Adapter | None, weights: Mapping[str, Tensor], where: str) -> Released:
    """Take a method's own tensors out of a checkpoint of its original code.

    Args:
        adapter: The active one, if there is one.
        weights: The file's state dict, unwrapped.
        where: The file, for messages.

    Returns:
        The adapter's tensors in its own shapes, and the rest; everything is rest if the file is a plain checkpoint.

    Raises:
        PccloraError: If the file is of another method, or a tensor is missing, of another shape or not finite.
    """
    theirs = method_of(weights)
    ours = ADAPTERS.name_of(adapter.config) if adapter is not None else None
    if theirs is None or adapter is None:
        return Released(adapter, rest=dict(weights))
    if theirs != ours:
        raise PccloraError(
            f"{where}: a checkpoint of '{theirs}', and the model's adapter is '{ours}'; attach "
            f"pcclora.adapter_config('{theirs}') to read it"
        )
    expected = {key: value for key, value in adapter.state_dict().items() if not key.endswith("num_batches_tracked")}
    released = Released(adapter, theirs)
    rows: dict[str, dict[int, Tensor]] = {}
    for key, value in weights.items():
        name = _here(adapter.released_names, key)
        row = _ROW.fullmatch(name) if name is not None else None
        if name is None:
            released.dead.append(key)
        elif name == "=1":
            _is_one(value, f"{where}: '{key}'")
        elif row is not None:
            rows.setdefault(row[1], {})[int(row[2])] = value
        elif name in expected:
            released.own[name] = value
        elif not name.endswith("num_batches_tracked") or name not in adapter.state_dict():
            released.rest[name] = value
    released.own |= {name: _stacked(parts, expected.get(name), f"{where}: '{name}'") for name, parts in rows.items()}
    shaped = {key: _shaped(value, expected.get(key)) for key, value in released.own.items()}
    released.own = fit(shaped, expected, where=f"{where}, for adapter '{ours}'")
    return released


def _is_one(value: Tensor, where: str) -> None:
    """Refuse another value of what is 1 in all files, so that nothing here computes with it."""
    if not value.eq(1).all():
        raise PccloraError(f"{where} is {value.flatten()[0]:.4g}, where released files have 1; nothing here does that")


def _here(names: Mapping[str, str | None], key: str) -> str | None:
    """Return what a key is called here, itself if no pattern means it, or None if nothing reads it."""
    for pattern, name in names.items():
        match = re.fullmatch(pattern, key)
        if match is not None:
            return None if name is None else match.expand(name)
    return key


def _stacked(rows: Mapping[int, Tensor], like: Tensor | None, where: str) -> Tensor:
    """Return rows as one tensor."""
    count = len(rows) if like is None else len(like)
    absent = [index for index in range(count) if index not in rows]
    if absent or len(rows) != count:
        raise PccloraError(
            f"{where}: {len(rows)} of {count} rows are in the file; create the model with the depth it was trained with"
        )
    if len({row.shape for row in rows.values()}) != 1:
        raise PccloraError(f"{where}: its rows have different shapes; the file is damaged, download it again")
    return torch.stack([rows[index] for index in range(count)])


def _shaped(value: Tensor, like: Tensor | None) -> Tensor:
    """Return a tensor in another's shape where the two differ in dimensions of 1 only; a mismatch is told later."""
    sizes = [size for size in value.shape if size != 1]
    same = like is not None and sizes == [size for size in like.shape if size != 1]
    return value.view(like.shape) if same and like is not None else value
