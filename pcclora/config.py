"""YAML + ``key=value`` -> typed dataclasses, with every error reported at once and the nearest valid name beside it.

A run is described by one dataclass. A field declared with :func:`component` holds the config of a registered
component; its YAML section says which by ``name``. OmegaConf converts and checks each value against its annotation.
"""

import dataclasses
import math
import re
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pcclora.described import described
from pcclora.errors import PccloraError, did_you_mean
from pcclora.registry import Registry
from pcclora.shipped import find_config
from pcclora.text import first_line
from pcclora.yaml_words import Written, read_tree, read_word, to_text, values_of, words_of

T = TypeVar("T")
LARGEST_COUNT = 20_000_000
"""No whole number of a configuration is larger, but for seeds: it would be layers, points or bytes."""
LARGEST_SEED = 2**63 - 1


def component(registry: Registry[Any], default: str) -> Any:
    """Declare a dataclass field that holds the config of a component of ``registry``; ``default`` is its name."""
    return dataclasses.field(
        default_factory=lambda: _default(registry, default), metadata={"registry": registry, "default": default}
    )


def _default(registry: Registry[Any], name: str) -> object:
    entry = registry.get(name)
    return entry.config(**entry.preset)


def load_config(
    schema: type[T] | Callable[[Mapping[str, Any]], type[T]],
    *,
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> T:
    """Read a run's configuration.

    Args:
        schema: The dataclass that describes the run, or what tells it by the words of the file.
        file: A YAML file or the name of one that is shipped, as ``cls/modelnet40/point_mae_clora``; None for the
            defaults.
        overrides: ``key=value`` strings, as ``adapter.r=4``; a bare ``adapter=lora`` names the component, before or
            after its keys. They win over the file.

    Returns:
        An instance of ``schema``.

    Raises:
        PccloraError: If anything is wrong: one message lists all unknown keys and wrong types, those that the file has
            without the overrides under its name, the others under the command line's.
    """
    values = read_tree(find_config(file)) if file is not None else {}
    target = schema if isinstance(schema, type) else schema(cast("dict[str, Any]", words_of(values)))
    errors: list[str] = []
    _apply_all(values, overrides, errors)
    config = _build(target, values, "", errors)
    if errors:
        of_file: list[str] = []
        _build(target, read_tree(find_config(file)) if file is not None else {}, "", of_file)
        own, given = ([error for error in errors if (error in of_file) is there] for there in (True, False))
        sides = ((str(file or "configuration"), own), ("command line", given))
        raise PccloraError("\n".join(_unusable(source, said) for source, said in sides if said))
    return cast("T", config)


def from_dict(schema: type[T], values: Mapping[str, Any], *, source: str) -> T:
    """Build a dataclass from plain values, as :func:`to_dict` gives them.

    Args:
        schema: The dataclass.
        values: Its fields; those left out keep their defaults.
        source: Where the values come from, for the message.

    Raises:
        PccloraError: If anything is wrong: one message lists all unknown keys and wrong types.
    """
    return _checked(schema, values, source, [])


def with_overrides(config: T, overrides: Sequence[str], *, source: str) -> T:
    """Return a dataclass with some values changed.

    Args:
        config: An instance; it stays as it is.
        overrides: ``key=value`` strings, as for :func:`load_config`.
        source: Where they come from, for the message.

    Raises:
        PccloraError: If anything is wrong: one message lists all unknown keys and wrong types.
    """
    values, errors = to_dict(config), list[str]()
    _apply_all(values, overrides, errors)
    return _checked(type(config), values, source, errors)


def read_yaml(file: str | Path, *, words: bool = False) -> dict[str, Any]:
    """Read a YAML mapping; its keys are words.

    Args:
        file: A file of plain data: without tags, aliases that multiply, or a key twice.
        words: Give each value as it was written: ``on`` and ``007`` are names then. Else as YAML has it: True and 7.

    Raises:
        PccloraError: If the file is absent, is no such YAML, or is not a mapping.
    """
    return cast("dict[str, Any]", (words_of if words else values_of)(read_tree(find_config(file))))


def to_dict(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain YAML types, each component with its ``name``; :func:`load_config` reads it back."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if "registry" in field.metadata:
            name = field.metadata["registry"].name_of(value)
            given = field.metadata["registry"].get(name).preset  # the name says it already
            section = {key: own for key, own in to_dict(value).items() if key not in given}
            values[field.name] = {"name": name, **section}
        elif dataclasses.is_dataclass(value):
            values[field.name] = to_dict(value)
        else:
            values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def to_yaml(config: Any) -> str:
    """Return a dataclass as the text of a YAML file that :func:`load_config` reads back."""
    return to_text(to_dict(config))


def _checked(schema: type[T], values: Mapping[str, Any], source: str, errors: list[str]) -> T:
    config = _build(schema, values, "", errors)
    if errors:
        raise PccloraError(_unusable(source, errors))
    return cast("T", config)


def _unusable(source: str, errors: Sequence[str]) -> str:
    return f"{source}: " + "\n  ".join(["cannot be used:", *errors])


def _apply_all(values: dict[str, Any], overrides: Sequence[str], errors: list[str]) -> None:
    """Set what overrides say: a section before its keys, which another name of it would drop; of one key the last."""
    for override in sorted(overrides, key=lambda own: own.partition("=")[0].count(".")):
        _apply(values, override, errors)


def _apply(values: dict[str, Any], override: str, errors: list[str]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        errors.append(f"'{override}': write key=value")
        return
    value: Any = read_word(text)
    *path, leaf = key.split(".")
    for part in path:
        child = _named(values.setdefault(part, {}))
        if isinstance(child, str):  # `adapter: lora` in the file, `adapter.r=4` on the command line
            child = values[part] = {"name": child}
        if not isinstance(child, dict):
            errors.append(f"{key}: '{part}' is a value ({child!r}), not a section")
            return
        values = child
    if isinstance(_named(values.get(leaf)), dict) and isinstance(word := _named(value), str):
        value = {"name": word}
    values[leaf] = value


def _named(value: Any) -> Any:
    """Return what YAML makes of a value, with its words as they are: a component's name, or a section."""
    return value.value if isinstance(value, Written) else value


def _build(
    schema: type, values: Mapping[str, Any], path: str, errors: list[str], *, kind: Registry[Any] | None = None
) -> object:
    from omegaconf import OmegaConf  # here, not above: reading its grammar takes 0.1 s

    fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
    arguments: dict[str, Any] = {}
    leaves, hints = OmegaConf.structured(schema), get_type_hints(schema)
    for key, value in values.items():
        place = f"{path}{key}"
        if key not in fields:
            others = kind.having(str(key)) if kind is not None else []
            errors.append(f"{place}: unknown key{_elsewhere(others, place) or _meant(str(key), schema, fields)}")
        elif "registry" in fields[key].metadata:
            arguments[key] = _build_component(fields[key], value, place, errors)
        elif dataclasses.is_dataclass(fields[key].type):
            nested = _section(value, place, errors)
            arguments[key] = _build(cast("type", fields[key].type), nested, place + ".", errors)
        else:
            arguments[key] = _convert(leaves, key, _as_wanted(value, hints[key]), hints[key], place, errors)
    return None if errors else _construct(schema, arguments, path, errors)


def _elsewhere(others: Sequence[str], place: str) -> str:
    """Say which components of a section have a key that the chosen one lacks, and how it is given with one of them."""
    if not others:
        return ""
    section = place.rpartition(".")[0]
    also = f" ({', '.join(others[1:])} {'has' if len(others) == 2 else 'have'} it too)" if others[1:] else ""
    return f" here; did you mean {section}={others[0]} {place}=...?{also}"


def _meant(key: str, schema: type, known: Iterable[str]) -> str:
    """Name the key whose description begins with a word that is none: ``rank`` is ``r``; else the nearest."""
    for name, meaning in described(schema).items():
        if name in known and re.match(rf"{re.escape(key)}\b", meaning, re.IGNORECASE):
            return f"; did you mean '{name}' ({meaning.partition('.')[0]})?"
    return did_you_mean(key, known)


def _construct(schema: type, arguments: dict[str, Any], path: str, errors: list[str]) -> object:
    try:
        return schema(**arguments)
    except (TypeError, ValueError) as error:  # a __post_init__ check, or a field without a default
        errors.append(f"{path.rstrip('.')}: {error}" if path else str(error))
        return None


def _build_component(field: dataclasses.Field[Any], value: object, place: str, errors: list[str]) -> object:
    registry: Registry[Any] = field.metadata["registry"]
    word = _named(value)
    section = dict(_section({"name": word} if isinstance(word, str) else value, place, errors))
    try:
        entry = registry.get(str(words_of(section.pop("name", field.metadata["default"]))))
    except PccloraError as error:
        errors.append(f"{place}.name: {error}")
        return None
    for key in set(section) & set(entry.preset):
        errors.append(f"{place}.{key}: the name '{entry.name}' says it already; leave it out")
    return _build(entry.config, section | entry.preset, place + ".", errors, kind=registry)


def _section(value: object, place: str, errors: list[str]) -> Mapping[str, Any]:
    if isinstance(held := _named(value), Mapping):
        return held
    errors.append(f"{place}: a section of keys is expected, found {words_of(value)!r}")
    return {}


def _as_wanted(value: Any, hint: Any) -> Any:
    """Return what a field's annotation asks for: words as they were written, all else as YAML reads it."""
    if _takes_words(hint):
        nothing = ("", "~", "null") if type(None) in get_args(hint) else ("",)
        if isinstance(value, Written) and value.text.strip().lower() in nothing:
            return None
        return words_of(value)
    held = value.value if isinstance(value, Written) else value
    if isinstance(held, PccloraError):
        return value  # no YAML: only a word may be that
    inside = _inside(hint)
    if isinstance(held, list):
        return [_as_wanted(own, inside) for own in held]
    if isinstance(held, dict):
        return {key: _as_wanted(own, inside) for key, own in held.items()}
    return held


def _takes_words(hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return all(isinstance(choice, str) for choice in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        choices = [choice for choice in get_args(hint) if choice is not type(None)]
        return all(map(_takes_words, choices))
    return hint is str


def _inside(hint: Any) -> Any:
    """Return the annotation of what a list, tuple or mapping holds."""
    for option in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
        held = [own for own in get_args(option) if own is not Ellipsis]
        if get_origin(option) in (list, tuple, dict) and held:
            return held[-1]
    return Any


def _convert(leaves: Any, key: str, value: object, hint: Any, place: str, errors: list[str]) -> object:
    if isinstance(value, Written):
        errors.append(f"'{place}={value.text}': {value.value}")
        return None
    if isinstance(value, str) and _takes_words(hint) and get_origin(hint) is not Literal:
        return value  # OmegaConf would look for ${...} in it
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a YAML list for a tuple is what we want
            OmegaConf.update(leaves, key, value)
        plain = OmegaConf.to_object(leaves[key]) if OmegaConf.is_config(leaves[key]) else leaves[key]
    except (OmegaConfBaseException, OverflowError) as error:  # a whole number that no float can be
        errors.append(f"{place}: {first_line(error, kind=False)}")
        return None
    _check_numbers(plain, place, errors)
    return plain


def _check_numbers(value: object, place: str, errors: list[str]) -> None:
    if isinstance(value, list | tuple):
        for own in value:
            _check_numbers(own, place, errors)
    elif isinstance(value, int):
        most = LARGEST_SEED if place.endswith("seed") else LARGEST_COUNT
        if abs(value) > most:
            errors.append(f"{place} is {_short(value)}; {most} is the most")
    elif isinstance(value, float) and not math.isfinite(value):
        errors.append(f"{place} is {value}; a finite number is needed")


def _short(number: int) -> str:
    digits = str(number)
    return digits if len(digits) <= 20 else f"{digits[:12]}... ({len(digits)} digits)"
