"""The check that tensors of a file are those that an adapter expects."""

from collections.abc import Collection, Mapping

from torch import Tensor

from pcclora.errors import PccloraError


def fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """Check that tensors are those that are expected.

    Args:
        found: What a file holds.
        expected: Tensors of the names, shapes and types that it should hold.
        where: The file, for messages.

    Returns:
        The tensors in the expected type.

    Raises:
        PccloraError: If they are not.
    """
    wrong = {"missing": expected.keys() - found.keys(), "unknown": found.keys() - expected.keys()}
    if any(wrong.values()):
        named = ", ".join(f"{what} {_some(names)}" for what, names in wrong.items() if names)
        raise PccloraError(
            f"{where}: {named}; use all of the file, with the architecture and the method that it was trained with"
        )
    return {key: _fitting(found[key], place, f"{where}: '{key}'") for key, place in expected.items()}


def _fitting(tensor: Tensor, place: Tensor, where: str) -> Tensor:
    if tensor.shape != place.shape:
        raise PccloraError(
            f"{where} has shape {tuple(tensor.shape)}, {tuple(place.shape)} is expected: another rank or architecture; "
            "load it into the model and with the settings that it was trained with"
        )
    if tensor.is_floating_point() != place.is_floating_point():
        raise PccloraError(f"{where} is {tensor.dtype}, {place.dtype} is expected; the file is damaged, write it again")
    fitting = tensor.to(place.dtype)
    bad = int((~fitting.isfinite()).sum())
    if bad:
        raise PccloraError(
            f"{where} holds {bad} values that are NaN or infinite; train again with a lower learning rate, "
            "or use an earlier file"
        )
    return fitting


def _some(names: Collection[str]) -> str:
    first = ", ".join(f"'{name}'" for name in sorted(names)[:3])
    return f"{first} and {len(names) - 3} more" if len(names) > 3 else first
