"""What an adapter is on disk: its tensors by name, and the fingerprint of the base weights it was trained on.

The tensors are ``adapter.state_dict()`` and, under the names they have in the model, the adapter's copies of what else
it trains (head, class token, biases) with the buffers that move along. Shared bases are in it once.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from pcclora.adapters.attach import active_adapter, host_of
from pcclora.adapters.base import buffer_names, parameter_names
from pcclora.adapters.files.fitting import fit
from pcclora.adapters.host import AdapterHost
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.tensor_file import digest


def adapter_tensors(model: nn.Module, name: str | None = None) -> dict[str, Tensor]:
    """Return everything that an adapter trains or moves: what its file holds, and a training checkpoint needs.

    Args:
        model: An adapted model.
        name: Which adapter; None is the active one.

    Returns:
        The tensors themselves, as in a state dict, not copies.

    Raises:
        PccloraError: If there is no such adapter.
    """
    name, adapter = active_adapter(model, name)
    host = host_of(model)
    borrowed = (*adapter.trained_parameters, *adapter.trained_buffers)
    return dict(adapter.state_dict()) | {key: host.copy_of(name, key).detach() for key in borrowed}


def load_adapter_tensors(model: nn.Module, tensors: Mapping[str, Tensor], name: str | None = None) -> None:
    """Put tensors into an adapter.

    Args:
        model: An adapted model.
        tensors: All that :func:`adapter_tensors` returns, and nothing else.
        name: Which adapter; None is the active one.

    Raises:
        PccloraError: If the adapter is merged, or a tensor is missing, unknown, of another shape or not finite. The
            model is unchanged then.
    """
    name, _ = active_adapter(model, name)
    host = host_of(model)
    if host.merged is not None and host.active == name:
        raise PccloraError(f"adapter '{name}' is merged into the weights; unmerge it before loading into it")
    places = adapter_tensors(model, name)
    fitting = fit(tensors, places, where=f"adapter '{name}'")
    with torch.no_grad():
        for key, place in places.items():
            place.copy_(fitting[key])


def derived(adapter: nn.Module) -> dict[str, list[float]]:
    """Return figures of what an adapter makes again instead of storing it, such as random or factorised matrices.

    They differ between any two matrices that are not the same up to rounding, which differs between machines.

    Args:
        adapter: Its buffers that a state dict does not hold are meant.

    Returns:
        Of each its norm and its product with a fixed wave.
    """
    stored, figures = adapter.state_dict().keys(), {}
    for key, tensor in adapter.named_buffers():
        if key not in stored:
            values = tensor.detach().double().cpu().flatten()
            wave = torch.cos(torch.arange(len(values), dtype=torch.float64))
            figures[key] = [float(values.norm()), float(values @ wave)]
    return figures


def check_derived(adapter: nn.Module, found: Mapping[str, Sequence[float]], *, where: str) -> None:
    """Refuse a file whose adapter was trained beside other derived tensors than those that were made here.

    Args:
        adapter: As its settings and base weights make it here.
        found: What :func:`derived` gave where it was saved.
        where: The file, for messages.

    Raises:
        PccloraError: If one is another.
    """
    here = derived(adapter)
    check_form(found, {key: [float] for key in here}, where, remedy="copy or download it again")
    for key, figures in here.items():
        if len(found[key]) != len(figures) or any(
            abs(a - b) > 1e-4 * figures[0] for a, b in zip(figures, found[key], strict=True)
        ):
            raise PccloraError(
                f"{where}: was trained with another '{key}', which is not stored but made again from the settings and "
                "the base; use the versions of the libraries that its header names"
            )


def base_fingerprint(model: nn.Module, *, exclude: Collection[str] | None = None) -> str:
    """Return a sha256 over the frozen parameters and buffers of a model: names, shapes and values as float32.

    An adapter changes nothing of it: originals count, also while it is merged or has put its own copies in place.

    Args:
        model: Adapted or not.
        exclude: Names that are not frozen. None takes what the active adapter trains or moves; nothing, if none is.

    Returns:
        64 hexadecimal digits.
    """
    adapters = getattr(model, "adapters", None)
    host = adapters if isinstance(adapters, AdapterHost) else None
    if exclude is None:
        exclude = host.aside[host.active].keys() if host is not None and host.active is not None else ()
    names = sorted({*parameter_names(model), *buffer_names(model)} - {*exclude})
    state = model.state_dict()
    return digest({name: (host.original(name) if host is not None else state[name]).float() for name in names})
