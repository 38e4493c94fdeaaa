"""The registered methods, by name."""

from typing import Any

from pcclora.adapters.base import AdapterConfig
from pcclora.config import from_dict
from pcclora.registry import ADAPTERS


def list_adapters(pattern: str = "*") -> list[str]:
    """Return the names of the methods that match a shell pattern, sorted.

    Examples:
        >>> import pcclora
        >>> pcclora.list_adapters("vpt*")
        ['vpt_deep']
    """
    return ADAPTERS.names(pattern)


def adapter_config(name: str, **fields: Any) -> AdapterConfig:
    """Return the settings of a method, for :func:`attach`.

    Args:
        name: One of :func:`list_adapters`.
        fields: Fields of its config dataclass, each checked against its annotation; the others keep their defaults.

    Raises:
        PccloraError: If the name is unknown (the message has the nearest one), or a field is.

    Examples:
        >>> import pcclora
        >>> pcclora.adapter_config("vpt_deep", prompts=4).prompts
        4
    """
    entry = ADAPTERS.get(name)
    if not fields:
        config: AdapterConfig = entry.config()
        return config
    checked: AdapterConfig = from_dict(entry.config, fields, source=f"adapter '{name}'")
    return checked
