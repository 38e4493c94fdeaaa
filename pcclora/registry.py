"""Names for components: the one idiom of extension.

A component (model, adapter, data set) is registered under a name together with its config dataclass; a YAML section
``adapter: {name: clora, r: 8}`` names it, and nothing else does. A user's own component comes in by ``--plugin``.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, TypeVar

from pcclora.errors import PccloraError, did_you_mean

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[T]):
    """What one name stands for: ``factory(config, ...)`` builds the component from an instance of ``config``."""

    name: str
    factory: Callable[..., T]
    config: type


class Registry(Generic[T]):
    """A table name -> (factory, config dataclass) of one kind of component.

    Args:
        kind: What the components are, for messages: ``"adapter"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, config: type) -> Callable[[F], F]:
        """Register the decorated class or function as ``name``.

        Args:
            name: The name that a YAML file uses.
            config: Its dataclass; each name has a dataclass of its own, so that a config knows its name.

        Raises:
            PccloraError: If the name, or the dataclass, is taken.
        """

        def add(factory: F) -> F:
            taken = self._entries.get(name) or next((e for e in self._entries.values() if e.config is config), None)
            if taken is not None:
                raise PccloraError(f"{self.kind} '{name}': '{taken.name}' has this name or config class already")
            self._entries[name] = Entry(name, factory, config)
            return factory

        return add

    def get(self, name: str) -> Entry[T]:
        """Return the entry of ``name``.

        Raises:
            PccloraError: If there is none; the message has the nearest name.
        """
        if name not in self._entries:
            raise PccloraError(f"unknown {self.kind} '{name}'{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Return all names that match the shell pattern, sorted."""
        return sorted(name for name in self._entries if fnmatchcase(name, pattern))

    def name_of(self, config: object) -> str:
        """Return the name that an instance of a registered dataclass belongs to."""
        for entry in self._entries.values():
            if type(config) is entry.config:
                return entry.name
        raise PccloraError(f"{type(config).__name__} is not the config of a registered {self.kind}")

    def build(self, config: object, **context: Any) -> T:
        """Build the component that ``config`` describes.

        Args:
            config: An instance of a registered dataclass.
            context: What this kind of factory takes beside its config (a data set: ``split``).
        """
        return self.get(self.name_of(config)).factory(config, **context)


MODELS: Registry[Any] = Registry("model")
ADAPTERS: Registry[Any] = Registry("adapter")
DATASETS: Registry[Any] = Registry("data set")


def load_plugin(path: str | Path) -> None:
    """Run a user's Python file, so that the components it registers can be named.

    Args:
        path: The file. It is code: it is run as it is.

    Raises:
        PccloraError: If it does not exist or does not run.
    """
    file = Path(path)
    if not file.is_file():
        raise PccloraError(f"--plugin {file}: no such file")
    spec = importlib.util.spec_from_file_location(f"pcclora_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise PccloraError(f"--plugin {file}: not a Python file (*.py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PccloraError(f"--plugin {file}: {type(error).__name__}: {error}") from error
