"""What a point has beside its place, by name: a colour, a normal, an intensity; in a row, behind x, y and z."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pcclora.errors import PccloraError, did_you_mean

FEATURES = {"rgb": 3, "normal": 3, "intensity": 1}
"""Name -> numbers of a point.

``rgb`` and ``intensity`` lie in [0, 1]; ``normal`` has length 1, or is 0 where a point has none.
"""


def check_features(names: Sequence[str], place: str = "features") -> None:
    """Refuse names that are none, or come twice.

    Args:
        names: In the order of their columns.
        place: Where they are asked for, for the message.

    Raises:
        PccloraError: Naming the first such name.
    """
    for name in names:
        if name not in FEATURES:
            raise PccloraError(f"{place}: unknown feature '{name}'{did_you_mean(name, FEATURES)}")
    if len(set(names)) < len(names):
        raise PccloraError(f"{place}: {', '.join(names)} has a name twice")


def width_of(names: Sequence[str]) -> int:
    """Return how many numbers C these features are."""
    return sum(FEATURES[name] for name in names)


def columns_of(name: str, names: Sequence[str]) -> slice:
    """Return where one of the features ``names`` stands in a row x, y, z and these."""
    start = 3 + width_of(names[: list(names).index(name)])
    return slice(start, start + FEATURES[name])


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors (N, 3) at length 1; those that are 0 stay so."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))
