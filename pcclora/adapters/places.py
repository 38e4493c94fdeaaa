"""Places: modules of a model by their role, so that a method can act around them without knowing the model.

As a model declares what trains beside an adapter (``modules_to_save``), it declares its ``places``: role -> pattern of
module names. A role is a promise of what goes in and comes out:

==================  ================================================================================================
``grouping``        clouds (B, N, 3) -> neighbourhoods (B, G, K, 3) about their centres, and centres (B, G, 3): farthest
                    points from the first on, and the K nearest of each
``tokenizer``       neighbourhoods (B, G, K, 3) -> tokens (B, G, C), each neighbourhood for itself; further ones may be
                    put behind the G, with positions behind theirs
``reduction``       what ``tokenizer`` gives -> tokens (B, G, C), where that is of another width
``position``        centres (B, G, 3) -> positions (B, G, C); called once a forward, before the first block
``stack``           tokens and their positions (B, T, C), by the prefix first, -> a list of what blocks give, (B, T, C)
                    each, the last block's last; tokens put in must be taken out of all of them, or behind ``norm``, or
                    be for the head to read, which takes them for groups
``block``           all tokens (B, T, C), their position added before -> the same; the first ``prefix_tokens`` of them
                    are no patches
``tokens``          as ``block``, and further tokens may be put in, which are taken out behind it
``patches``         images (B, 3, S, S) -> (B, C, H, W), by a convolution
``attention``       normalised tokens -> what is added to them
``attention_norm``  all tokens -> normalised, in front of ``attention``
``mlp``             normalised tokens -> what is added to them
``mlp_norm``        all tokens behind the attention -> normalised, in front of ``mlp``
``norm``            all tokens behind the last block -> normalised
``head``            features (B, F) -> logits
==================  ================================================================================================

A model that breaks a promise does not declare the role: ReCon's two streams have no ``mlp_norm`` of all tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from pcclora.adapters.targets import select
from pcclora.errors import PccloraError

if TYPE_CHECKING:
    from pcclora.adapters.base import Adapter


@dataclass(frozen=True)
class Place:
    """One module in its role.

    Attributes:
        role: What it is to the model.
        module: Its name.
        index: Which of its role, from 0 in the model's order.
        count: How many of its role there are.
    """

    role: str
    module: str
    index: int
    count: int

    @property
    def last(self) -> bool:
        """Whether none of its role comes after it."""
        return self.index == self.count - 1


class Seen(dict[str, Any]):
    """What one forward leaves at a place for later ones; a copy or a pickle of it is empty, as before a forward."""

    def __deepcopy__(self, _: Any) -> "Seen":
        return Seen()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Seen, ()


def find_places(model: nn.Module, roles: Sequence[str]) -> tuple[Place, ...]:
    """Return the places of a model that play some roles.

    Args:
        model: Declares ``places``.
        roles: Which are wanted; each once.

    Raises:
        PccloraError: If the model has no place of a role, with those that it has, or a role is asked for twice.
    """
    if len(set(roles)) < len(roles):
        raise PccloraError(f"roles {', '.join(roles)}: one is asked for twice")
    declared: dict[str, str] = getattr(model, "places", {})
    names = [name for name, _ in model.named_modules() if name and name.partition(".")[0] != "adapters"]
    found: list[Place] = []
    for role in roles:
        if role not in declared:
            has = f"it has {', '.join(declared)}" if declared else "it declares no places"
            raise PccloraError(f"{type(model).__name__} has no place '{role}', where this method acts; {has}")
        modules = select([declared[role]], names, what=f"place '{role}'")
        found += [Place(role, module, index, len(modules)) for index, module in enumerate(modules)]
    return tuple(found)


def has_place(model: nn.Module, role: str) -> bool:
    """Tell whether a model has a place of a role."""
    return role in getattr(model, "places", {})


def prefix_tokens(model: nn.Module) -> int:
    """Return how many tokens come before those of patches or groups: class token and its like.

    Raises:
        PccloraError: If the model does not say it.
    """
    count = getattr(model, "prefix_tokens", None)
    if not isinstance(count, int):
        raise PccloraError(
            f"{type(model).__name__} does not say by prefix_tokens how many tokens come before its patches"
        )
    return count


def token_width(model: nn.Module, place: Place) -> int:
    """Return the width C of a block's tokens: that of the first norm inside."""
    sizes = (p.numel() for p in model.get_submodule(place.module).parameters() if p.ndim == 1)
    size = next(sizes, None)
    if size is None:
        raise PccloraError(f"'{place.module}' has no norm inside, so the width of its tokens is not known")
    return size


class PlaceHook:
    """Asks an adapter before or after a module; an object, so that a copied model asks its own copy of the adapter.

    Args:
        adapter: The active one.
        module: The module's name.
    """

    def __init__(self, adapter: "Adapter", module: str) -> None:
        self.adapter, self.places = adapter, adapter.places_at[module]


class Before(PlaceHook):
    """Called by torch before the module."""

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what the module is given."""
        for place in self.places:
            inputs = self.adapter.before(place, module, inputs)
        return inputs


class After(PlaceHook):
    """Called by torch after the module."""

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Return what the module's caller is given."""
        for place in self.places:
            output = self.adapter.after(place, module, inputs, output)
        return output
