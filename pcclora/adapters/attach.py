"""Put adapters on a model, choose between them, merge them into its weights, take them off again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

import torch
from torch import nn

from pcclora.adapters.base import Adapter
from pcclora.adapters.host import AdapterHost
from pcclora.errors import PccloraError, did_you_mean
from pcclora.registry import ADAPTERS


def attach(model: nn.Module, config: Any, *, name: str = "default") -> Adapter:
    """Adapt a model in place: freeze it, add an adapter, make that the active one.

    In eval mode the output stays the same, bit for bit, until something is trained. Afterwards exactly the parameters
    with ``requires_grad`` train.

    Args:
        model: Any module. Its parameters keep their names; the adapter is ``model.adapters[name]``.
        config: Settings of a registered method, as ``CLoRAConfig(r=8)``.
        name: To tell several adapters of one model apart.

    Returns:
        The adapter.

    Raises:
        PccloraError: If the name cannot be used, an adapter is merged, or the method cannot act on this model. The
            model is unchanged then.

    Examples:
        >>> import pcclora
        >>> model = pcclora.create_model("point_mae_tiny", num_classes=16, pretrained=True)
        >>> adapter = pcclora.attach(model, pcclora.CLoRAConfig(r=8, bases=4))
        >>> sum(parameter.numel() for parameter in adapter.parameters())
        12288
    """
    host = getattr(model, "adapters", None)
    if host is not None and not isinstance(host, AdapterHost):
        raise PccloraError(f"{type(model).__name__} has an attribute 'adapters' of its own; it cannot be adapted")
    if not name.isidentifier() or hasattr(AdapterHost(nn.Identity()), name):
        raise PccloraError(f"'{name}' cannot name an adapter; use letters, digits and underscores")
    if host is not None and name in host:
        raise PccloraError(f"the model has an adapter '{name}' already; detach it, or choose another name")
    active = host.active if host is not None else None
    if host is not None:
        host.activate(None)  # a new adapter starts from the originals
    try:
        adapter: Adapter = ADAPTERS.build(config, model=model)
    except Exception:
        if host is not None:
            host.activate(active)
        raise
    if host is None:
        host = AdapterHost(model)
        model.add_module("adapters", host)
    host.add(name, adapter)
    host.activate(name)
    return adapter


def detach(model: nn.Module, name: str | None = None) -> None:
    """Take adapters off; the originals come back. From a merged model the merged weights and trained tensors stay.

    Args:
        model: An adapted model.
        name: Which adapter; None takes off all of them and leaves a plain model.

    Raises:
        PccloraError: If there is no such adapter, or one of several is to go while one is merged.
    """
    host = host_of(model)
    if name is not None and name not in host:
        raise PccloraError(f"no adapter '{name}'{did_you_mean(name, host)}")
    if name is not None and len(host) > 1:
        if host.merged is not None:
            raise PccloraError(f"adapter '{host.active}' is merged; unmerge it, or detach all adapters")
        host.discard(name)
        return
    if host.merged is None:
        host.activate(None)
    host.dissolve()


def set_adapter(model: nn.Module, name: str) -> None:
    """Make one of the model's adapters the active one.

    Raises:
        PccloraError: If there is no such adapter, or one is merged.
    """
    host = host_of(model)
    if name not in host:
        raise PccloraError(f"no adapter '{name}'{did_you_mean(name, host)}")
    host.activate(name)


@contextmanager
def attached(model: nn.Module, config: Any, name: str, *, where: str = "") -> Iterator[Adapter]:
    """Attach an adapter that the ``with`` block fills with numbers; where the block fails, the model is as it was.

    What the adapter starts from is overwritten, so no random number is used up.

    Args:
        model: As for :func:`attach`.
        config: As for :func:`attach`.
        name: As for :func:`attach`.
        where: The file that the settings come from, for the message if they do not fit the model.
    """
    host = getattr(model, "adapters", None)
    active = host.active if isinstance(host, AdapterHost) else None
    try:
        with torch.random.fork_rng(devices=[]):
            adapter = attach(model, config, name=name)
    except PccloraError as error:
        if not where:
            raise
        raise PccloraError(f"{where}: cannot be put on this {type(model).__name__}: {error}") from error
    try:
        yield adapter
    except BaseException:
        detach(model, name)
        if active is not None:
            set_adapter(model, active)
        raise


@contextmanager
def disabled(model: nn.Module) -> Iterator[None]:
    """Use the original model inside a ``with`` block.

    Examples:
        >>> import torch, pcclora
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2))
        >>> adapter = pcclora.attach(model, pcclora.LoRAConfig(target_modules=("0",)))
        >>> with pcclora.disabled(model):
        ...     original = model(torch.ones(1, 3))
    """
    host = host_of(model)
    active, merged = host.active, host.merged is not None
    if merged:
        host.unmerge()
    host.activate(None)
    try:
        yield
    finally:
        host.activate(active)
        if merged:
            host.merge()


def merge(model: nn.Module) -> None:
    """Put the active adapter into the weights, so that it costs nothing; the model is in eval mode then.

    Raises:
        PccloraError: If no adapter is active, one is merged already, or it is of a kind that no weight can hold.

    Examples:
        >>> import torch, pcclora
        >>> model = pcclora.create_model("point_mae_tiny", num_classes=16, pretrained=True)
        >>> adapter = pcclora.attach(model, pcclora.LoRAConfig(r=4))
        >>> points = torch.rand(2, 1024, 3)
        >>> beside = model.eval()(points)
        >>> pcclora.merge(model)
        >>> torch.allclose(model(points), beside, atol=1e-5)
        True
    """
    host_of(model).merge()


def unmerge(model: nn.Module) -> None:
    """Put the original weights back, bit for bit.

    Raises:
        PccloraError: If none is merged.
    """
    host_of(model).unmerge()


def print_trainable_parameters(model: nn.Module, *, stream: TextIO | None = None) -> None:
    """Write how many parameters train, in Hugging Face peft's words.

    Args:
        model: Any module; the adapters of it that are not active count among all parameters.
        stream: Where to; None is standard output.

    Examples:
        >>> import pcclora
        >>> model = pcclora.create_model("point_mae_tiny", num_classes=16)
        >>> adapter = pcclora.attach(model, pcclora.LoRAConfig(r=8))
        >>> pcclora.print_trainable_parameters(model)
        trainable params: 157,392 || all params: 871,248 || trainable%: 18.0651
    """
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in model.parameters())
    share = 100 * trained / max(total, 1)
    line = f"trainable params: {trained:,d} || all params: {total:,d} || trainable%: {share:.4f}\n"
    (sys.stdout if stream is None else stream).write(line)


def active_adapter(model: nn.Module, name: str | None = None) -> tuple[str, Adapter]:
    """Return an adapter and its name; None is the active one.

    Raises:
        PccloraError: If there is none.
    """
    host = host_of(model)
    name = host.active if name is None else name
    if name is None or name not in host:
        raise PccloraError(f"no adapter '{name}'{did_you_mean(str(name), host)}")
    return name, cast("Adapter", host[name])


def rate_factors(model: nn.Module) -> dict[str, float]:
    """Return what the active adapter wants some learning rates multiplied by.

    Args:
        model: Any module; it may be adapted, or have adapted ones inside.

    Returns:
        The factors by the parameters' names in the model; those that are not there have the factor 1.
    """
    hosts = [(name, host) for name, host in model.named_modules() if isinstance(host, AdapterHost)]
    found: dict[str, float] = {}
    for name, host in hosts:
        if host.active is not None:
            factors = cast("Adapter", host[host.active]).rate_factors()
            found |= {f"{name}.{host.active}.{own}": factor for own, factor in factors.items()}
    return found


def host_of(model: nn.Module) -> AdapterHost:
    """Return what holds the model's adapters.

    Raises:
        PccloraError: If the model has none.
    """
    host = getattr(model, "adapters", None)
    if not isinstance(host, AdapterHost):
        raise PccloraError(f"{type(model).__name__} has no adapter; attach one first")
    return host
