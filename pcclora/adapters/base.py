"""What an adaptation method is: one module that owns all that the method adds to one model.

Beside its own tensors a method may train tensors of the model: what the config's ``modules_to_save`` names (a head, a
class token), biases, everything. They are listed here by name; :mod:`pcclora.adapters.host` gives each adapter copies
of its own, so that adapters can be exchanged and the originals come back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pcclora.adapters.places import Place, Seen
from pcclora.adapters.targets import Target, select
from pcclora.errors import PccloraError


@dataclass(frozen=True)
class About:
    """What a table of methods says of one.

    Attributes:
        formula: What it computes, in a line; s a scale, A and C small maps, N1 and N2 the norms of a block.
        paper: Its short name and its number, as ``VPT (2203.12119)``.
        ours: What differs from the paper or its released code, and why; empty for nothing.
    """

    formula: str
    paper: str
    ours: str = ""


@dataclass
class AdapterConfig:
    """What every method has.

    Attributes:
        modules_to_save: Names (``*`` for one segment) of modules and parameters that train beside the adapter and are
            kept in its file, or roles of the model's ``places``, as ``head``. None takes what the model declares in
            its attribute ``modules_to_save``, if it has one.

    ``shown`` names the settings that tell one run of a method from another, for tables; ``about`` is what the table of
    all methods says. ``later`` names the settings that were added after files had been written without them: while they
    are at their default they are in no file and no table.
    """

    shown: ClassVar[tuple[str, ...]] = ()
    about: ClassVar[About | None] = None
    later: ClassVar[tuple[str, ...]] = ()

    modules_to_save: tuple[str, ...] | None = None

    @classmethod
    def still_default(cls, values: Mapping[str, Any]) -> frozenset[str]:
        """Return which of the settings in ``later`` are at their default, or not there."""
        found = {field.name: field for field in fields(cls) if field.name in cls.later}
        defaults = {name: own.default for name, own in found.items()}
        defaults |= {name: own.default_factory() for name, own in found.items() if own.default_factory is not MISSING}
        return frozenset(name for name in cls.later if values.get(name, defaults[name]) == defaults[name])


class Adapter(nn.Module):
    """One method on one model.

    A subclass creates its parameters in ``__init__`` and has two kinds of seats. On linear maps (``targets``) it
    implements :meth:`linear` and :meth:`merged`; around modules of a role (``places``) it implements :meth:`before` and
    :meth:`after`. The host calls it while it is active, so it hooks nothing itself and leaves no trace otherwise.

    Args:
        config: The method's settings.
        model: What is adapted. Nothing of it is changed here, nor kept.
        targets: The linear maps that it acts on.
        places: The modules that it acts around, from :func:`~pcclora.adapters.places.find_places`.
        also_trained: Names of further parameters of the model that it trains.
        also_moved: Names of further buffers that may change while it trains.

    Attributes:
        seen: What one forward leaves for its later places, and for :meth:`regularization`.
        mergeable: Whether the weights can take up all that it does: so it is for a method without places.
        starts_at_base: Whether the adapted model computes what the base does before anything is trained.
        sums: Whether summing its parameters, each minus what the model has of it, sums what it does.
        released_mark: Pattern of a key that only checkpoints of the method's original code have; empty if none is read.
        released_names: Pattern of their keys -> the tensor's name in the adapter's state dict (``name[3]`` for a row of
            it), or in the model's; None for what the original never reads, ``=1`` for what must be 1. The first
            pattern that fits counts.

    Raises:
        PccloraError: If a tensor is both a target and trained as it is, or shared by two modules.
    """

    starts_at_base: bool = True
    sums: bool = False
    released_mark: ClassVar[str] = ""
    released_names: ClassVar[Mapping[str, str | None]] = MappingProxyType({})

    def __init__(
        self,
        config: Any,
        model: nn.Module,
        *,
        targets: Sequence[Target] = (),
        places: Sequence[Place] = (),
        also_trained: Sequence[str] = (),
        also_moved: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.config = config
        self.targets = tuple(targets)
        self.acts_on = frozenset(target.module for target in self.targets)
        self.places_at: dict[str, tuple[Place, ...]] = {}
        for place in places:
            self.places_at[place.module] = (*self.places_at.get(place.module, ()), place)
        self.seen = Seen()
        self.mergeable = not places
        self.modules_to_save = saved_names(model, config.modules_to_save)
        parameters, buffers = tensors_inside(model, self.modules_to_save)
        self.trained_parameters = tuple(dict.fromkeys([*parameters, *also_trained]))
        self.trained_buffers = tuple(dict.fromkeys([*buffers, *also_moved]))
        adapted = {f"{target.module}.weight" for target in self.targets}
        both = adapted.intersection(self.trained_parameters)
        if both:
            raise PccloraError(f"'{sorted(both)[0]}' is a target and in modules_to_save; it can be one of them")
        _refuse_tied(model, adapted.union(self.trained_parameters))

    def linear(self, module: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute what an adapted linear map returns.

        Args:
            module: Its name; one of the targets' modules.
            x: Its input (..., d_in).
            weight: Its frozen weight (d_out, d_in).
            bias: Its frozen bias (d_out,), if it has one.
        """
        raise NotImplementedError

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what the module at a place is given in place of its inputs.

        Args:
            place: One of the adapter's.
            module: What is there; ``module.forward`` runs it once more, on something else, past the adapter.
            inputs: As the model gives them.
        """
        return inputs

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Return what the module at a place gives in place of its output.

        Args:
            place: One of the adapter's.
            module: What is there, as in :meth:`before`.
            inputs: What it was given, after :meth:`before`.
            output: What it gave.
        """
        return output

    def own_copy(self, name: str, original: Tensor) -> Tensor:
        """Return what a trained tensor of the model starts from; it may be wider, as a head that reads more."""
        return original.detach().clone()

    @property
    def merges_into(self) -> frozenset[str]:
        """The modules whose weight and bias :meth:`merged` replaces: the targets'."""
        return self.acts_on

    def merged(self, module: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the weight and bias with which a plain module does what the adapted one does.

        Args:
            module: Its name; one of :attr:`merges_into`.
            weight: Its frozen weight.
            bias: Its frozen bias, if it has one; one may appear.
        """
        raise NotImplementedError

    def rate_factors(self) -> dict[str, float]:
        """Return what the learning rates of its own parameters are multiplied by, by their names; 1 is left out."""
        return {}

    def regularization(self) -> Tensor:
        """Return what the method adds to the loss after a forward, a scalar; 0 for most."""
        return torch.zeros(())


def saved_names(model: nn.Module, patterns: Sequence[str] | None) -> tuple[str, ...]:
    """Return the modules and parameters that ``modules_to_save`` means, in the model's order.

    Args:
        model: Where to look.
        patterns: Names of modules or parameters, or roles that no module has as its name; None takes the model's own
            ``modules_to_save``.

    Raises:
        PccloraError: If a pattern matches nothing.
    """
    wanted = getattr(model, "modules_to_save", ()) if patterns is None else patterns
    modules = [name for name, _ in model.named_modules() if name and name.partition(".")[0] != "adapters"]
    roles = {role: module for role, module in getattr(model, "places", {}).items() if role not in modules}
    wanted = wanted if isinstance(wanted, str) else [roles.get(name, name) for name in wanted]
    return tuple(select(wanted, [*modules, *parameter_names(model)], what="modules_to_save"))


def tensors_inside(model: nn.Module, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the parameters and the buffers that are named, or are inside a named module, in the model's order."""
    chosen = set(names)

    def inside(name: str) -> bool:
        parts = name.split(".")
        return any(".".join(parts[:i]) in chosen for i in range(1, len(parts) + 1))

    return [n for n in parameter_names(model) if inside(n)], [n for n in buffer_names(model) if inside(n)]


def _refuse_tied(model: nn.Module, changed: set[str]) -> None:
    """Refuse to change a parameter that two modules share: it would change in one of them only."""
    first: dict[int, str] = {}
    for module_name, module in model.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            name = f"{module_name}.{leaf}".removeprefix(".")
            other = first.setdefault(id(parameter), name)
            if other != name and not changed.isdisjoint((name, other)):
                raise PccloraError(f"'{other}' and '{name}' are one tensor; a tied weight cannot be adapted or trained")


def parameter_names(model: nn.Module) -> list[str]:
    """Return the names of the model's parameters, without those of adapters."""
    return [name for name, _ in model.named_parameters() if not name.startswith("adapters.")]


def buffer_names(model: nn.Module) -> list[str]:
    """Return the names of the model's buffers that a state dict holds, without those of adapters."""
    buffers = {name for name, _ in model.named_buffers()}
    return [name for name in model.state_dict() if name in buffers and not name.startswith("adapters.")]
