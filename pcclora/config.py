"""YAML + ``key=value`` -> typed dataclasses, with every error reported at once and the nearest valid name beside it.

A run is described by one dataclass. A field declared with :func:`component` holds the config of a registered
component; its YAML section says which by ``name``. OmegaConf converts and checks each value against its annotation.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from pcclora.errors import PccloraError, did_you_mean
from pcclora.registry import Registry

T = TypeVar("T")


def component(registry: Registry[Any], default: str) -> Any:
    """Declare a dataclass field that holds the config of a component of ``registry``; ``default`` is its name."""
    return dataclasses.field(
        default_factory=lambda: _default(registry, default), metadata={"registry": registry, "default": default}
    )


def _default(registry: Registry[Any], name: str) -> object:
    entry = registry.get(name)
    return entry.config(**entry.preset)


def load_config(schema: type[T], *, file: str | Path | None = None, overrides: Sequence[str] = ()) -> T:
    """Read a run's configuration.

    Args:
        schema: The dataclass that describes the run.
        file: A YAML file, or None for the defaults.
        overrides: ``key=value`` strings, as ``adapter.r=4``; a bare ``adapter=lora`` names the component. They win
            over the file.

    Returns:
        An instance of ``schema``.

    Raises:
        PccloraError: If anything is wrong: one message lists all unknown keys and wrong types.
    """
    values = read_yaml(file) if file is not None else {}
    errors: list[str] = []
    for override in overrides:
        _apply(values, override, errors)
    return _checked(schema, values, str(file or "configuration"), errors)


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
    for override in overrides:
        _apply(values, override, errors)
    return _checked(type(config), values, source, errors)


def read_yaml(file: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        PccloraError: If the file is absent, is not YAML, or is not a mapping.
    """
    path = Path(file)
    if not path.is_file():
        raise PccloraError(f"{path}: no such file")
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise PccloraError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(values, dict):
        raise PccloraError(f"{path}: a mapping of keys is expected at the top, found {type(values).__name__}")
    return cast("dict[str, Any]", values)


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
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def _checked(schema: type[T], values: Mapping[str, Any], source: str, errors: list[str]) -> T:
    config = _build(schema, values, "", errors)
    if errors:
        raise PccloraError(f"{source}: " + "\n  ".join(["cannot be used:", *errors]))
    return cast("T", config)


def _apply(values: dict[str, Any], override: str, errors: list[str]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        errors.append(f"'{override}': write key=value")
        return
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index,call-overload]
    except (YAMLError, OmegaConfBaseException) as error:
        errors.append(f"'{override}': {_first_line(error)}")
        return
    *path, leaf = key.split(".")
    for part in path:
        child = values.setdefault(part, {})
        if isinstance(child, str):  # `adapter: lora` in the file, `adapter.r=4` on the command line
            child = values[part] = {"name": child}
        if not isinstance(child, dict):
            errors.append(f"{key}: '{part}' is a value ({child!r}), not a section")
            return
        values = child
    if isinstance(values.get(leaf), dict) and isinstance(value, str):
        value = {"name": value}
    values[leaf] = value


def _build(schema: type, values: Mapping[str, Any], path: str, errors: list[str]) -> object:
    fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
    arguments: dict[str, Any] = {}
    leaves = OmegaConf.structured(schema)
    for key, value in values.items():
        place = f"{path}{key}"
        if key not in fields:
            errors.append(f"{place}: unknown key{did_you_mean(str(key), fields)}")
        elif "registry" in fields[key].metadata:
            arguments[key] = _build_component(fields[key], value, place, errors)
        elif dataclasses.is_dataclass(fields[key].type):
            nested = _section(value, place, errors)
            arguments[key] = _build(cast("type", fields[key].type), nested, place + ".", errors)
        else:
            arguments[key] = _convert(leaves, key, value, place, errors)
    return None if errors else _construct(schema, arguments, path, errors)


def _construct(schema: type, arguments: dict[str, Any], path: str, errors: list[str]) -> object:
    try:
        return schema(**arguments)
    except (TypeError, ValueError) as error:  # a __post_init__ check, or a field without a default
        errors.append(f"{path.rstrip('.') or schema.__name__}: {error}")
        return None


def _build_component(field: dataclasses.Field[Any], value: object, place: str, errors: list[str]) -> object:
    registry: Registry[Any] = field.metadata["registry"]
    section = dict(_section({"name": value} if isinstance(value, str) else value, place, errors))
    try:
        entry = registry.get(str(section.pop("name", field.metadata["default"])))
    except PccloraError as error:
        errors.append(f"{place}.name: {error}")
        return None
    for key in set(section) & set(entry.preset):
        errors.append(f"{place}.{key}: the name '{entry.name}' says it already; leave it out")
    return _build(entry.config, section | entry.preset, place + ".", errors)


def _section(value: object, place: str, errors: list[str]) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    errors.append(f"{place}: a section of keys is expected, found {value!r}")
    return {}


def _convert(leaves: Any, key: str, value: object, place: str, errors: list[str]) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a YAML list for a tuple is what we want
            OmegaConf.update(leaves, key, value)
        plain = OmegaConf.to_object(leaves[key]) if OmegaConf.is_config(leaves[key]) else leaves[key]
    except OmegaConfBaseException as error:
        errors.append(f"{place}: {_first_line(error)}")
        return None
    return plain


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
