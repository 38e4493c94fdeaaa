"""Which linear maps an adapter acts on, and which rows of a fused one: ``blocks.*.attn.qkv[q,v]``.

A pattern matches the whole module name as ``named_modules()`` gives it; ``*`` stands for one path segment. Rows in
brackets are letters of the module's own last name, which splits its rows into equal blocks in that order (``qkv[q,v]``,
``kv[k]``), or ranges (``fused[0:96,192:288]``). Hugging Face peft has no such slices; here every method has them.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import pairwise

from torch import nn

from pcclora.errors import PccloraError

_PATTERN = re.compile(r"(?P<path>[^\[\]]+)(?:\[(?P<rows>[^\[\]]*)\])?")
_RANGE = re.compile(r"(?P<start>\d+):(?P<stop>\d+)")


@dataclass(frozen=True)
class Target:
    """Rows of the weight of one linear map.

    Attributes:
        module: Its whole name.
        start: First row.
        stop: Row after the last.
        rows: How the rows were written (``q``, ``0:96``), or None for all of them.
        d_in: Width of its input.
    """

    module: str
    start: int
    stop: int
    rows: str | None
    d_in: int

    @property
    def d_out(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    def __str__(self) -> str:
        return self.module if self.rows is None else f"{self.module}[{self.rows}]"


def matches(pattern: str, name: str) -> bool:
    """Tell whether a dotted pattern, ``*`` for one segment, matches the whole dotted name."""
    parts, segments = pattern.split("."), name.split(".")
    return len(parts) == len(segments) and all(map(fnmatchcase, segments, parts))


def select(patterns: Iterable[str], names: Sequence[str], *, what: str) -> list[str]:
    """Return the names that any pattern matches, in the order of ``names``.

    Raises:
        PccloraError: If a pattern matches nothing; the message has the nearest name.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = [name for name in names if matches(pattern, name)]
        if not found:
            close = get_close_matches(pattern, names, n=1, cutoff=0.0)
            hint = f"; the nearest is '{close[0]}'" if close else ""
            raise PccloraError(f"{what} '{pattern}' matches nothing in this model ('*' is one path segment){hint}")
        chosen.update(found)
    return [name for name in names if name in chosen]


def find_targets(model: nn.Module, patterns: Sequence[str]) -> tuple[Target, ...]:
    """Resolve target patterns on a model.

    Args:
        model: Where to look.
        patterns: As described above.

    Returns:
        The targets, module by module in the model's order, rows ascending.

    Raises:
        PccloraError: If a pattern matches nothing or no linear map, rows do not exist or are named twice, or a module
            is never called by its parent, so that an adapter on it would be dead.
    """
    names = [name for name, _ in model.named_modules() if name and not name.startswith("adapters.")]
    found: list[Target] = []
    for text in patterns:
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise PccloraError(f"target '{text}' cannot be read; write it as 'blocks.*.attn.qkv[q,v]'")
        for name in select([match["path"]], names, what="target"):
            linear = _checked(model, name)
            found += _rows(name, linear, match["rows"])
    order = {name: i for i, name in enumerate(names)}
    found.sort(key=lambda target: (order[target.module], target.start))
    for before, after in pairwise(found):
        if before.module == after.module and after.start < before.stop:
            raise PccloraError(f"targets '{before}' and '{after}' share rows; name each row once")
    return tuple(found)


def attention_targets(model: nn.Module) -> tuple[str, ...]:
    """Return the default of methods that add to a weight: each fused ``qkv`` as [q,k,v], and the ``proj`` beside it."""
    modules = dict(model.named_modules())
    patterns: list[str] = []
    for name in _linears_named(modules, "qkv"):
        patterns.append(f"{name}[q,k,v]")
        beside = name.removesuffix("qkv") + "proj"
        patterns += [beside] if isinstance(modules.get(beside), nn.Linear) else []
    return _found(patterns, model, "qkv")


def input_targets(model: nn.Module) -> tuple[str, ...]:
    """Return the default of the methods that act on an input: every ``qkv`` and every ``fc1``."""
    modules = dict(model.named_modules())
    return _found(_linears_named(modules, "qkv") + _linears_named(modules, "fc1"), model, "qkv or fc1")


def _linears_named(modules: dict[str, nn.Module], last: str) -> list[str]:
    return [n for n, m in modules.items() if n.rpartition(".")[2] == last and isinstance(m, nn.Linear)]


def _found(patterns: list[str], model: nn.Module, what: str) -> tuple[str, ...]:
    if not patterns:
        raise PccloraError(f"{type(model).__name__} has no linear map called {what}: name target_modules yourself")
    return tuple(patterns)


def _checked(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    if not isinstance(module, nn.Linear):
        raise PccloraError(f"target '{name}' is a {type(module).__name__}; only nn.Linear can be adapted")
    parent_name, _, leaf = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    if type(module).forward not in (nn.Linear.forward, getattr(type(module), "adapted_forward", None)):
        raise PccloraError(
            f"target '{name}' is a {type(module).__name__} with a forward of its own; it cannot be adapted"
        )
    if isinstance(parent, nn.MultiheadAttention) or _reads_weight(parent, leaf):
        raise PccloraError(
            f"target '{name}': {type(parent).__name__} reads {leaf}.weight without calling {leaf}, so an adapter on it "
            "would be dead; choose another target or a model that calls its linear maps"
        )
    return module


def _reads_weight(parent: nn.Module, leaf: str) -> bool:
    """Tell from its source whether the parent's forward uses ``self.leaf.weight``."""
    try:
        source = inspect.getsource(type(parent).forward)
    except (OSError, TypeError):
        return False
    return re.search(rf"self\.{re.escape(leaf)}\.(weight|bias)\b", source) is not None


def _rows(name: str, linear: nn.Linear, rows: str | None) -> list[Target]:
    if rows is None:
        return [Target(name, 0, linear.out_features, None, linear.in_features)]
    return [_slice(name, linear, part.strip()) for part in rows.split(",")]


def _slice(name: str, linear: nn.Linear, rows: str) -> Target:
    last, total = name.rpartition(".")[2], linear.out_features
    numbers = _RANGE.fullmatch(rows)
    if numbers is not None:
        start, stop = int(numbers["start"]), int(numbers["stop"])
        if not start < stop <= total:
            raise PccloraError(f"target '{name}[{rows}]': rows {start} to {stop} of {total} do not exist")
    elif len(rows) == 1 and rows in last and total % len(last) == 0:
        size = total // len(last)
        start = last.index(rows) * size
        stop = start + size
    else:
        raise PccloraError(
            f"target '{name}[{rows}]': '{rows}' is no letter of '{last}' that splits its {total} rows evenly; "
            "write letters as 'qkv[q,v]' or a range as '[0:96]'"
        )
    return Target(name, start, stop, rows, linear.in_features)
