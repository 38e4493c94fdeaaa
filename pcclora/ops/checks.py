"""What every op asks of its arguments."""

from torch import Tensor, float32, float64

from pcclora.errors import PccloraError


def check_points(points: Tensor, name: str) -> None:
    """Refuse what is not a float (B, N, 3) tensor with at least one point.

    Args:
        points: The argument.
        name: What the caller calls it, for the message.

    Raises:
        PccloraError: If the shape or the dtype is wrong.
    """
    if points.dim() != 3 or points.shape[2] != 3 or points.shape[1] == 0:
        raise PccloraError(f"{name}: shape {tuple(points.shape)}; (B, N, 3) with N >= 1 is needed")
    if points.dtype not in (float32, float64):
        raise PccloraError(f"{name}: {points.dtype}; float32 or float64 is needed, call .float() first")


def check_pair(first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Refuse two sets of points that differ in batch size, dtype or device.

    Raises:
        PccloraError: If they do, or if one of them fails :func:`check_points`.
    """
    check_points(first, names[0])
    check_points(second, names[1])
    for what, a, b in (
        ("batch size", first.shape[0], second.shape[0]),
        ("dtype", first.dtype, second.dtype),
        ("device", first.device, second.device),
    ):
        if a != b:
            raise PccloraError(f"{names[0]} and {names[1]}: {what} {a} and {b}; they must be equal")


def check_count(K: int, N: int) -> None:
    """Refuse a number of points that a cloud cannot give.

    Raises:
        PccloraError: If K is not in 1...N.
    """
    if not 1 <= K <= N:
        raise PccloraError(f"K={K}: a cloud of N={N} points gives 1 to {N}; choose a smaller K or give more points")


def check_finite(finite: bool, name: str) -> None:
    """Refuse NaN and infinite coordinates; asked on a CPU only, where it costs nothing beside the op itself.

    Raises:
        PccloraError: If ``finite`` is false.
    """
    if not finite:
        raise PccloraError(f"{name}: a coordinate is NaN or infinite; remove such points when the file is read")
