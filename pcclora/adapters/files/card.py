"""The card of a saved adapter: README.md in its folder, for people and for a hub, which reads its first lines.

``save_adapter`` writes what an adapter knows of itself; a finished run writes a fuller one in its place. Nothing reads
a card again, and a folder without one loads as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor, nn

from pcclora.adapters.base import Adapter
from pcclora.atomic import write_text
from pcclora.errors import PccloraError
from pcclora.paths import exists, is_file, read_text
from pcclora.registry import ADAPTERS, MODELS

CARD = "README.md"
OWN_LICENCE = "This adapter: what `license:` says at the beginning of this file; where nothing does, none is granted."
_OURS = "<!-- Written by pcclora, anew with each save. Delete this line to keep words of your own. -->"


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        title: Its heading.
        meta: Its first lines: what a hub sorts and finds by.
        sections: Heading -> Markdown, in their order; the one without a heading comes first.
    """

    title: str
    meta: Mapping[str, Any]
    sections: Mapping[str, str]

    def text(self) -> str:
        """Return the card as Markdown."""
        meta = yaml.safe_dump(dict(self.meta), sort_keys=False, allow_unicode=True)
        parts = [f"## {heading}\n\n{text}" if heading else text for heading, text in self.sections.items()]
        return "\n\n".join([f"---\n{meta}---\n# {self.title}", *parts, f"{_OURS}\n"])


def adapter_card(model: nn.Module, adapter: Adapter, tensors: Mapping[str, Tensor], fingerprint: str) -> Card:
    """Return what an adapter knows of itself.

    Args:
        model: What it is on.
        adapter: One of its adapters.
        tensors: What it trains or moves, by name.
        fingerprint: Of the base weights.
    """
    method, base = ADAPTERS.name_of(adapter.config), _name_of(model)
    return Card(
        title=f"{method} adapter of {base}",
        meta=front_matter(method),
        sections={
            "": _about(adapter, tensors),
            "Base": f"`{base}`, with the frozen weights of fingerprint\n`{fingerprint}`. On any others it is refused.",
            "Use": (
                "```python\nimport pcclora\n\n"
                f'pcclora.load_adapter(model, "FOLDER")  # model: a {base} with its base weights\n```'
            ),
            "Licence": OWN_LICENCE,
        },
    )


def front_matter(method: str) -> dict[str, Any]:
    """Return the first lines of the card of any adapter of a method."""
    return {"library_name": "pcclora", "tags": ["pcclora", method, "parameter-efficient-fine-tuning"]}


def write_card(folder: Path, card: Card) -> None:
    """Write or replace a folder's card, unless what is there is not, or no longer, pcclora's own.

    Raises:
        PccloraError: If it cannot be written.
    """
    path = folder / CARD
    if not exists(path) or (is_file(path) and _OURS.encode() in path.read_bytes()):
        write_text(path, card.text())


def read_card(folder: Path) -> tuple[str, bool]:
    """Return a folder's card, empty if there is none, and whether it is the user's own words.

    Raises:
        PccloraError: If it is no text.
    """
    if not is_file(folder / CARD):
        return "", False
    try:
        text = read_text(folder / CARD)
    except UnicodeDecodeError as error:
        raise PccloraError(f"{folder / CARD}: cannot be read: {error}; write it as UTF-8") from error
    return text, _OURS not in text


def _about(adapter: Adapter, tensors: Mapping[str, Tensor]) -> str:
    own = sum(parameter.numel() for parameter in adapter.parameters())
    beside = sum(tensors[name].numel() for name in adapter.trained_parameters)
    about = adapter.config.about
    formula = f": `{about.formula}`; {about.paper}" if about else ""
    settings = ", ".join(f"`{name}={getattr(adapter.config, name)}`" for name in adapter.config.shown)
    lines = [f"Method `{ADAPTERS.name_of(adapter.config)}`{formula}."]
    lines += [f"Settings: {settings}; all of them are in `adapter_config.json`."] if settings else []
    lines += [f"It holds {own:,} numbers of its own, and {beside:,} of tensors of the model that train beside it."]
    return "\n".join(lines)


def _name_of(model: nn.Module) -> str:
    """Return what ``create_model`` calls a model, or its class if that is none of ours."""
    try:
        return MODELS.name_of(getattr(model, "config", None))
    except PccloraError:
        return type(model).__name__
