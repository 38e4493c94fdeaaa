"""List what a configuration can name, and the keys of one: what each means, its type and its default.

pcclora list                       what there is to list
pcclora list data                  the data sets
pcclora list data folder           the keys of one: data=folder data.root=MY_SCANS
pcclora list adapters clora        of an adapter: adapter=clora adapter.r=8
pcclora list models point_mae      of a backbone: model=point_mae model.num_groups=128
pcclora list models 'timm/vit_*'   names that match a pattern
pcclora list runs cls              of a run: what else there is, as train.epochs

What adapters compute and cost is `pcclora methods`; whole configurations are `pcclora configs`.
"""

import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pcclora.commands import spelled
from pcclora.described import described, first_sentence
from pcclora.engine import console
from pcclora.errors import PccloraError, did_you_mean
from pcclora.paths import read_text
from pcclora.registry import ADAPTERS, DATASETS, MODELS, Registry, load_plugin
from pcclora.shipped import card
from pcclora.studies.fewshot.settings import FewShotRun
from pcclora.tasks.registry import TASKS
from pcclora.tasks.settings import PretrainRun
from pcclora.tools.shared.parser import Parser

RUNS: Mapping[str, type] = MappingProxyType(
    {**{name: task.schema for name, task in TASKS.items()}, "fewshot": FewShotRun, "pretrain": PretrainRun}
)
_TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True)
class Kind:
    """One kind of what can be named.

    Attributes:
        key: How a configuration names it, as ``data``; empty for runs, which it is itself.
        about: What it is, in a few words.
        names: Those that match a pattern.
        schema: Name -> the dataclass of its keys.
        headline: Name -> what it is, in a sentence.
        given: Name -> the keys that it gives itself.
    """

    key: str
    about: str
    names: Callable[[str], list[str]]
    schema: Callable[[str], type]
    headline: Callable[[str], str]
    given: Callable[[str], Collection[str]] = lambda _: ()


def _components(key: str, about: str, registry: Registry[Any], headline: Callable[[str], str]) -> Kind:
    return Kind(
        key,
        about,
        registry.names,
        lambda name: registry.get(name).config,
        headline,
        lambda name: registry.get(name).preset,
    )


def _of_data(name: str) -> str:
    return first_sentence(read_text(card(name))) if card(name).is_file() else _of_config(DATASETS)(name)


def _of_config(registry: Registry[Any]) -> Callable[[str], str]:
    return lambda name: first_sentence(registry.get(name).config.__doc__ or "")


def _of_adapter(name: str) -> str:
    about = getattr(ADAPTERS.get(name).config, "about", None)
    return f"{about.paper}: {about.formula}" if about else _of_config(ADAPTERS)(name)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "data": _components("data", "data sets", DATASETS, _of_data),
        "models": _components("model", "backbones", MODELS, _of_config(MODELS)),
        "adapters": _components("adapter", "adaptation methods", ADAPTERS, _of_adapter),
        "runs": Kind(
            "",
            "kinds of runs, with all that is set beside the former",
            lambda _: sorted(RUNS),
            lambda name: RUNS[name],
            lambda name: first_sentence(RUNS[name].__doc__ or ""),
        ),
    }
)


def main() -> None:
    """Parse and print."""
    parser = Parser(__doc__)
    parser.add_argument("kind", nargs="?", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of the kind, or a pattern")
    parser.add_argument("--plugin", action="append", default=[], help="Python file that registers components")
    arguments = parser.parse_args()
    for plugin in arguments.plugin:
        load_plugin(plugin)
    if arguments.kind is None:
        console.write(_wrapped((name, kind.about) for name, kind in KINDS.items()))
        return
    if arguments.kind not in KINDS:
        raise PccloraError(f"pcclora list {arguments.kind}: no such kind{did_you_mean(arguments.kind, KINDS)}")
    kind, name = KINDS[arguments.kind], arguments.name
    if name is None or any(mark in name for mark in "*?["):
        console.write(_wrapped((own, kind.headline(own)) for own in kind.names(name or "*")) + _further(kind))
        return
    if not kind.key and name not in RUNS:
        raise PccloraError(f"unknown run '{name}'{did_you_mean(name, RUNS)}")
    named = f"{kind.key}={name}" if kind.key else f"pcclora train-{name}" if name in TASKS else f"pcclora {name}"
    given = kind.given(name)  # the name says them
    keys = "".join(_keys(kind.schema(name), f"{kind.key}." if kind.key else "", given)) or "no keys\n"
    console.write(f"{spelled(named)}\n{_filled(kind.headline(name), 2)}\n{keys}")


def _further(kind: Kind) -> str:
    if kind.key != "model":
        return ""
    return "timm/NAME\n" + _filled(f"A vision transformer of timm: {spelled('pcclora list models')} 'timm/*'", 2)


def _keys(schema: type, prefix: str, given: Collection[str] = ()) -> Iterator[str]:
    """Yield what is to be said of each key, and of the keys of the sections in it."""
    meanings, hints = described(schema), get_type_hints(schema)
    for field in fields(schema):
        if not field.init or field.name in given:
            continue
        if is_dataclass(field.type) and "registry" not in field.metadata:
            yield from _keys(field.type, f"{prefix}{field.name}.")  # type: ignore[arg-type]
            continue
        default = _default(field)
        shown = f"{prefix}{field.name}{'' if default is None else f'={default}'}"
        yield _filled(f"{shown}  ({_kind(field, hints[field.name])})", 0) + _filled(meanings.get(field.name, ""), 4)


def _default(field: Field[Any]) -> str | None:
    """Return what a key is if it is not given, as it would be given; None where there is no such word."""
    if "registry" in field.metadata:
        return str(field.metadata["default"])
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is MISSING or value == "":
        return None
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def _kind(field: Field[Any], hint: Any) -> str:
    if "registry" in field.metadata:
        kind = next(name for name, own in KINDS.items() if own.key == field.name)
        return f"one of {spelled('pcclora list')} {kind}"
    return _type(hint)


def _type(hint: Any) -> str:
    """Return an annotation in words."""
    inside, origin = get_args(hint), get_origin(hint)
    if origin is Literal:
        return " | ".join(map(str, inside))
    if origin in (Union, UnionType):
        return " or ".join("null" if own is NoneType else _type(own) for own in inside)
    if origin in (list, tuple):
        return f"list: {_type(next(own for own in inside if own is not Ellipsis))}"
    if origin is dict:
        return f"names: {_type(inside[1])}"
    return _TYPES.get(hint, "")


def _wrapped(rows: Any) -> str:
    return "".join(f"{name}\n{_filled(what, 2)}" for name, what in rows)


def _filled(text: str, indent: int) -> str:
    page = textwrap.TextWrapper(80, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False)
    return "".join(f"{line}\n" for line in page.wrap(text.replace("``", "")))
