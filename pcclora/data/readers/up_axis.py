"""Which axis of a file is vertical: models, augmentation and pictures have y up, and other files are turned to it."""

from collections.abc import Sequence
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import Axis
from pcclora.data.features import columns_of
from pcclora.errors import PccloraError

F = TypeVar("F", bound=np.floating)
AXES: tuple[Axis, ...] = get_args(Axis)

TURNS: dict[Axis, NDArray[np.int64]] = {
    "x": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "y": np.eye(3, dtype=np.int64),
    "z": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
"""Up axis -> the rotation that takes it to y: a quarter turn about the axis that is neither.

z up: (x, y, z) becomes (x, z, -y), as Blender, glTF and most converters have it: x stays to the right, and what looked
along y looks along -z, away from the viewer. x up: (x, y, z) becomes (-y, x, z).
"""


def turn_upright(points: NDArray[F], up: Axis, features: Sequence[str] = ()) -> NDArray[F]:
    """Turn a cloud so that its up axis becomes y; no coordinate is rounded, and nothing is mirrored.

    Args:
        points: (N, 3 + C).
        up: The axis of the points that is vertical.
        features: What its C further columns are; normals turn too.

    Returns:
        (N, 3 + C) of the same type; the same array where y is up already.

    Examples:
        >>> import numpy as np
        >>> from pcclora.data import turn_upright
        >>> turn_upright(np.array([[1.0, 2.0, 3.0]]), "z").tolist()
        [[1.0, 3.0, -2.0]]
    """
    if up == "y":
        return points
    turn = TURNS[up]
    source, sign = np.arange(points.shape[1]), np.ones(points.shape[1], points.dtype)
    for columns in (slice(0, 3), *([columns_of("normal", features)] if "normal" in features else [])):
        source[columns] = columns.start + np.abs(turn).argmax(axis=1)
        sign[columns] = turn.sum(axis=1)
    return np.asarray(points[:, source] * sign)


def check_axis(up: str) -> None:
    """Refuse what is no axis.

    Raises:
        PccloraError: Naming it.
    """
    if up not in AXES:
        raise PccloraError(f"up is '{up}'; the vertical axis is x, y or z")
