"""Which linear maps an adapter acts on, and which rows of a fused one: ``blocks.*.attn.qkv[q,v]``.

A pattern matches the whole module name as ``named_modules()`` gives it; ``*`` stands for one path segment. Rows in
brackets are letters of the module's own last name, which splits its rows into equal blocks in that order (``qkv[q,v]``,
``kv[k]``), or ranges (``fused[0:96,192:288]``). Hugging Face peft has no such slices; here every method has them.

``qkv`` also means the maps q, k and v of an attention that keeps them apart, whatever it calls them, so one pattern
serves both kinds of attention: ``attn.qkv[q,v]`` is then ``attn.q_proj`` and ``attn.v_proj``, whole.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import cast

from torch import nn

from pcclora.adapters.linear import AdaptedLinear
from pcclora.adapters.liveness import reader_of
from pcclora.errors import PccloraError

_PATTERN = re.compile(r"(?P<path>[^\[\]]+)(?:\[(?P<rows>[^\[\]]*)\])?")
_RANGE = re.compile(r"(?P<start>\d+):(?P<stop>\d+)")
_SPLIT = (("q", "k", "v"), ("q_proj", "k_proj", "v_proj"), ("query", "key", "value"))
_OUT = ("proj", "out_proj", "o_proj")
_MLP = ("fc1", "fc1_g", "fc1_x")  # the last two: gate and value of a SwiGLU, which read the same input
_MLP_OUT = "fc2"


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
    return len(parts) == len(segments) and all(part in ("*", own) for part, own in zip(parts, segments, strict=True))


def select(patterns: Iterable[str], names: Sequence[str], *, what: str) -> list[str]:
    """Return the names that any pattern matches, in the order of ``names``.

    Raises:
        PccloraError: If a pattern matches nothing; the message has the nearest name.
    """
    _refuse_string(patterns, what)
    chosen: set[str] = set()
    for pattern in patterns:
        found = [name for name in names if matches(pattern, name)]
        if not found:
            close = get_close_matches(pattern, names, n=1, cutoff=0.0)
            hint = f"; the nearest is '{close[0]}'" if close else ""
            raise PccloraError(f"{what} '{pattern}' matches nothing in this model ('*' is one path segment){hint}")
        chosen.update(found)
    return [name for name in names if name in chosen]


def find_targets(
    model: nn.Module,
    patterns: Sequence[str] | None,
    *,
    default: Callable[[nn.Module], Sequence[str]] | None = None,
) -> tuple[Target, ...]:
    """Resolve target patterns on a model.

    Args:
        model: Where to look.
        patterns: As described above; None takes the default's.
        default: What a method acts on unless told otherwise; None is :func:`attention_targets`.

    Returns:
        The targets, module by module in the model's order, rows ascending.

    Raises:
        PccloraError: If a pattern matches nothing or no plain linear map, rows do not exist or are named twice, or a
            module's weight is read past its forward, so that an adapter on it would be dead.
    """
    if patterns is None:
        patterns = (default or attention_targets)(model)
    names, split = _names(model)
    found: list[Target] = []
    _refuse_string(patterns, "target_modules")
    if not patterns:
        raise PccloraError("target_modules is empty; name a linear map, or leave it out for the default")
    for text in patterns:
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise PccloraError(f"target '{text}' cannot be read; write it as 'blocks.*.attn.qkv[q,v]'")
        for name in select([match["path"]], names + _virtual(split, match["path"]), what="target"):
            parts = _parts(name, split[name], match["rows"]) if name in split else {name: match["rows"]}
            for part, rows in parts.items():
                found += _rows(part, _checked(model, part), rows)
    order = {name: i for i, name in enumerate(names)}
    found.sort(key=lambda target: (order[target.module], target.start))
    for before, after in pairwise(found):
        if before.module == after.module and after.start < before.stop:
            raise PccloraError(f"targets '{before}' and '{after}' share rows; name each row once")
    return tuple(found)


def ending(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Write patterns of endings of names, as Hugging Face peft has them, as patterns of whole names.

    Args:
        model: Where to look.
        patterns: ``proj`` also means ``attn.proj``, unless a module has the very name ``proj``; rows as above.

    Returns:
        Whole names, each with the rows of its pattern.

    Raises:
        PccloraError: If no name ends so.
    """
    names, split = _names(model)
    _refuse_string(patterns, "target_modules")
    found: list[str] = []
    for text in patterns:
        path, bracket, rows = text.partition("[")
        depth = path.count(".") + 1
        known = names + _virtual(split, path)
        ends = [name for name in known if matches(path, ".".join(name.split(".")[-depth:]))]
        meant = [path] if path in names else ends or select([path], known, what="target")
        found += [name + bracket + rows for name in meant]
    return found


def attention_targets(model: nn.Module) -> tuple[str, ...]:
    """Return the default of methods that add to a weight: q, k and v of each attention, fused or not, and its output.

    Raises:
        PccloraError: If the model has no such attention.
    """
    modules = dict(model.named_modules())
    patterns: list[str] = []
    for place in _attentions(modules):
        patterns.append(f"{place}qkv[q,k,v]")
        patterns += [place + out for out in _OUT if _is_linear(modules, place + out)]
    return _found(patterns, model)


def input_targets(model: nn.Module) -> tuple[str, ...]:
    """Return the default of the methods that act on an input: every ``qkv`` and every first map of an MLP.

    Raises:
        PccloraError: If the model has neither.
    """
    modules = dict(model.named_modules())
    return _found([f"{place}qkv" for place in _attentions(modules)] + _named(modules, _MLP), model)


def block_targets(model: nn.Module) -> tuple[str, ...]:
    """Return the default of methods that add to every map of a block: :func:`attention_targets` and all of its MLP.

    Raises:
        PccloraError: If the model has no such attention.
    """
    return (*attention_targets(model), *_named(dict(model.named_modules()), (*_MLP, _MLP_OUT)))


def without_rows(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return patterns that mean whole maps where these mean rows of them."""
    return tuple(pattern.partition("[")[0] for pattern in patterns)


def refuse_slices(targets: Iterable[Target], who: str) -> None:
    """Refuse rows of a fused map for what acts on a map's input.

    Args:
        targets: All of them.
        who: Takes whole maps, for the message.

    Raises:
        PccloraError: Naming the first slice.
    """
    for target in targets:
        if target.rows is not None:
            raise PccloraError(f"target '{target}': a slice has no input of its own; {who} takes whole maps")


def _named(modules: Mapping[str, nn.Module], lasts: Sequence[str]) -> list[str]:
    """Return the linear maps whose own, last name is one of these."""
    return [name for name in modules if name.rpartition(".")[2] in lasts and _is_linear(modules, name)]


def _refuse_string(patterns: Iterable[str], what: str) -> None:
    if isinstance(patterns, str):
        raise PccloraError(f"{what} is the string '{patterns}'; write a list of patterns: ['{patterns}']")


def _names(model: nn.Module) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Return the names of all modules, and q, k and v by the name that ``qkv`` would have where they are apart."""
    modules = {name: module for name, module in model.named_modules() if name.partition(".")[0] != "adapters"}
    split = {f"{place}qkv": maps for place, maps in _attentions(modules).items() if len(maps) > 1}
    return [name for name in modules if name], split


def _virtual(split: Iterable[str], path: str) -> list[str]:
    """Return the names that only a pattern which says ``qkv`` means, not one with ``*`` there."""
    return [*split] if path.rpartition(".")[2] == "qkv" else []


def _attentions(modules: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Return the maps of each attention, one fused or three, by what stands before ``qkv`` in their names."""
    found: dict[str, tuple[str, ...]] = {}
    for name in modules:
        place = f"{name}." if name else ""
        for names in (("qkv",), *_SPLIT):
            maps = tuple(place + part for part in names)
            if all(_is_linear(modules, part) for part in maps):
                found.setdefault(place, maps)
    return found


def _is_linear(modules: Mapping[str, nn.Module], name: str) -> bool:
    return isinstance(modules.get(name), nn.Linear)


def _found(patterns: list[str], model: nn.Module) -> tuple[str, ...]:
    if not patterns:
        known = ", ".join("/".join(names) for names in _SPLIT)
        raise PccloraError(
            f"{type(model).__name__} has no attention with a linear map qkv, nor with {known}: name target_modules "
            "yourself"
        )
    return tuple(patterns)


def _checked(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    reader = reader_of(model, name)
    if reader is not None:
        raise PccloraError(
            f"target '{name}': {reader} reads its weight without calling it, so an adapter on it would be dead; choose "
            "another target or a model that calls its linear maps"
        )
    if type(module) not in (nn.Linear, AdaptedLinear) or "forward" in vars(module):
        raise PccloraError(f"target '{name}' is no plain nn.Linear but {type(module).__name__}; it cannot be adapted")
    return cast("nn.Linear", module)


def _parts(name: str, maps: Sequence[str], rows: str | None) -> dict[str, None]:
    """Return the maps, each with all its rows, that ``rows`` mean of a ``qkv`` which is not one map but these."""
    letters = ["q", "k", "v"] if rows is None else [part.strip() for part in rows.split(",")]
    wrong = [letter for letter in letters if letter not in ("q", "k", "v")]
    if wrong:
        raise PccloraError(
            f"target '{name}[{rows}]': '{wrong[0]}' is none of q, k, v, and this attention keeps them apart as "
            f"{', '.join(maps)}; write rows of one of these"
        )
    return {maps["qkv".index(letter)]: None for letter in letters}


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
    elif len(rows) == 1 and last.count(rows) == 1 and total % len(last) == 0:
        size = total // len(last)
        start = last.index(rows) * size
        stop = start + size
    else:
        raise PccloraError(
            f"target '{name}[{rows}]': '{rows}' is no single letter of '{last}' that splits its {total} rows evenly; "
            "write letters as 'qkv[q,v]' or a range as '[0:96]'"
        )
    return Target(name, start, stop, rows, linear.in_features)
