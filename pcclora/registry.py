"""Names for components: the one idiom of extension.

A component (model, adapter, data set) is registered under a name together with its config dataclass; a YAML section
``adapter: {name: clora, r: 8}`` names it, and nothing else does. One entry may stand for a family: ``timm/vit_tiny`` is
the entry ``timm`` with ``vit_tiny`` in one field of its config. A user's own component comes in by ``--plugin``.
"""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, TypeVar

from pcclora.errors import PccloraError, did_you_mean
from pcclora.paths import is_file

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[T]):
    """What one name stands for: ``factory(config, ...)`` builds the component from an instance of ``config``.

    Attributes:
        name: The whole name, ``timm/vit_tiny`` for a member of a family.
        factory: What builds it.
        config: Its dataclass.
        preset: Fields of ``config`` that the name itself gives: ``{"architecture": "vit_tiny"}``.
    """

    name: str
    factory: Callable[..., T]
    config: type
    preset: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Family:
    """Entries ``<name>/<member>`` that differ in one field of one config; ``members`` lists what can be named."""

    field: str
    members: Callable[[], Iterable[str]]


class Registry(Generic[T]):
    """A table name -> (factory, config dataclass) of one kind of component.

    Args:
        kind: What the components are, for messages: ``"adapter"``.
        first: The name that a message takes for an example where several would do.

    Attributes:
        configs: What every config dataclass of this kind inherits.
    """

    def __init__(self, kind: str, *, first: str = "") -> None:
        self.kind, self.first = kind, first
        self.configs: type = object
        self._entries: dict[str, Entry[T]] = {}
        self._families: dict[str, _Family] = {}

    def register(
        self, name: str, *, config: type, variant: str | None = None, variants: Callable[[], Iterable[str]] = tuple
    ) -> Callable[[F], F]:
        """Register the decorated class or function as ``name``.

        Args:
            name: The name that a YAML file uses.
            config: Its dataclass; each name has a dataclass of its own, so that a config knows its name.
            variant: A text field of it, where ``name`` is a family: then ``name/x`` is named, and ``x`` is that field.
            variants: Lists a family's members for :meth:`names`; it is called when it is asked for them.

        Raises:
            PccloraError: If the name, or the dataclass, is taken, or the dataclass is none of this kind.
        """

        def add(factory: F) -> F:
            if not issubclass(config, self.configs):
                needed = f"{self.configs.__module__}.{self.configs.__name__}"
                raise PccloraError(f"{self.kind} '{name}': its config {config.__name__} must inherit {needed}")
            taken = self._entries.get(name) or next((e for e in self._entries.values() if e.config is config), None)
            if taken is not None:
                raise PccloraError(f"{self.kind} '{name}': '{taken.name}' has this name or config class already")
            self._entries[name] = Entry(name, factory, config)
            if variant is not None:
                self._families[name] = _Family(variant, variants)
            return factory

        return add

    def get(self, name: str) -> Entry[T]:
        """Return the entry of ``name``.

        Raises:
            PccloraError: If there is none; the message has the nearest name.
        """
        first, _, member = name.partition("/")
        if first in self._families and member:
            entry = self._entries[first]
            return Entry(name, entry.factory, entry.config, {self._families[first].field: member})
        if name not in self._entries or name in self._families:
            raise PccloraError(f"unknown {self.kind} '{name}'{did_you_mean(name, self._written())}")
        return self._entries[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Return all names that match the shell pattern, sorted; a family's members where it begins ``family/``."""
        family, slash, _ = pattern.partition("/")
        if slash and family in self._families:
            known = [f"{family}/{member}" for member in self._families[family].members()]
        else:
            known = [name for name in self._entries if name not in self._families]
        return sorted(name for name in known if fnmatchcase(name, pattern))

    def having(self, field: str) -> list[str]:
        """Return the names whose config has a field, sorted, but the one for examples first."""
        having = [name for name, entry in self._entries.items() if field in {own.name for own in fields(entry.config)}]
        return sorted(having, key=lambda name: (name != self.first, name))

    def name_of(self, config: object) -> str:
        """Return the name that an instance of a registered dataclass belongs to."""
        for entry in self._entries.values():
            if type(config) is entry.config:
                family = self._families.get(entry.name)
                return entry.name if family is None else f"{entry.name}/{getattr(config, family.field)}"
        raise PccloraError(f"{type(config).__name__} is not the config of a registered {self.kind}")

    def _written(self) -> list[str]:
        """Return every name as a user would write it, a family as ``timm/<architecture>``."""
        return [f"{name}/<{self._families[name].field}>" if name in self._families else name for name in self._entries]

    def build(self, config: object, **context: Any) -> T:
        """Build the component that ``config`` describes.

        Args:
            config: An instance of a registered dataclass.
            context: What this kind of factory takes beside its config (a data set: ``split``).
        """
        return self.get(self.name_of(config)).factory(config, **context)


MODELS: Registry[Any] = Registry("model")
ADAPTERS: Registry[Any] = Registry("adapter")
DATASETS: Registry[Any] = Registry("data set", first="folder")


def load_plugin(path: str | Path) -> None:
    """Run a user's Python file, so that the components it registers can be named.

    Args:
        path: The file. It is code: it is run as it is.

    Raises:
        PccloraError: If it does not exist or does not run.
    """
    file = Path(path)
    if not is_file(file):
        raise PccloraError(f"--plugin {file}: no such file")
    spec = importlib.util.spec_from_file_location(f"pcclora_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise PccloraError(f"--plugin {file}: not a Python file (*.py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PccloraError(f"--plugin {file}: {type(error).__name__}: {error}") from error
