"""Methods measured on the same folds: which differences are more than the noise of the folds.

Folds differ in difficulty far more than methods do, so the differences fold by fold are tested, not the means:
Student's paired t-test, and Holm's correction (Scandinavian Journal of Statistics, 1979) for the number of pairs looked
at. Must agree with ``scipy.stats.ttest_rel``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pcclora.errors import PccloraError
from pcclora.extras import of_extra

LEVEL = 0.05


@dataclass(frozen=True)
class PairedDifference:
    """What the folds say of two methods.

    Attributes:
        first: One method.
        second: The other.
        mean: Mean over the folds of first - second.
        half_width: Half of the 95 % confidence interval of that mean, uncorrected; None for a single fold.
        p: Two-sided p-value of the paired t-test; None for a single fold.
        p_holm: The same after Holm's correction.
        folds: How many.
    """

    first: str
    second: str
    mean: float
    half_width: float | None
    p: float | None
    p_holm: float | None
    folds: int

    @property
    def more_than_noise(self) -> bool:
        """Whether the corrected p-value is below 0.05."""
        return self.p_holm is not None and self.p_holm < LEVEL


def paired_differences(values: Mapping[str, Sequence[float]]) -> list[PairedDifference]:
    """Compare every two methods over their common folds.

    Args:
        values: Method -> one measurement a fold, in the order of the folds.

    Returns:
        One entry for each two methods, in the order of ``values``.

    Raises:
        PccloraError: If the methods have different numbers of folds.
    """
    _refuse_other_folds(values)
    pairs = [_pair(a, b, np.subtract(values[a], values[b], dtype=np.float64)) for a, b in combinations(values, 2)]
    return _holm(pairs)


def differences_from(reference: str, values: Mapping[str, Sequence[float]]) -> list[PairedDifference]:
    """Compare every other method with one over their common folds; Holm's correction is for these pairs.

    Args:
        reference: The one, ``second`` of each pair.
        values: Method -> one measurement a fold, in the order of the folds.

    Raises:
        PccloraError: If the methods have different numbers of folds.
    """
    _refuse_other_folds(values)
    others = [name for name in values if name != reference]
    return _holm([_pair(name, reference, np.subtract(values[name], values[reference])) for name in others])


def _refuse_other_folds(values: Mapping[str, Sequence[float]]) -> None:
    counts = {name: len(own) for name, own in values.items()}
    if len(set(counts.values())) > 1:
        raise PccloraError(f"{counts}: each method needs a value for each fold")


def _pair(first: str, second: str, differences: np.ndarray) -> PairedDifference:
    with of_extra("train", "a paired test"):
        from scipy.stats import t

    n, mean = len(differences), float(differences.mean())
    if n == 1:
        return PairedDifference(first, second, mean, None, None, None, n)
    error = float(differences.std(ddof=1)) / n**0.5
    if error < 1e-12 * max(abs(mean), 1.0):  # the same difference in every fold
        p = 1.0 if abs(mean) < 1e-12 else 0.0
    else:
        p = float(2 * t.sf(abs(mean) / error, n - 1))
    return PairedDifference(first, second, mean, float(t.ppf(0.975, n - 1)) * error, p, None, n)


def _holm(pairs: Sequence[PairedDifference]) -> list[PairedDifference]:
    """Multiply the i-th smallest of m p-values by m - i, and let none be below a smaller one's."""
    tested = sorted((pair for pair in pairs if pair.p is not None), key=lambda pair: pair.p or 0.0)
    corrected: dict[tuple[str, str], float] = {}
    least = 0.0
    for i, pair in enumerate(tested):
        least = max(least, min((pair.p or 0.0) * (len(tested) - i), 1.0))
        corrected[pair.first, pair.second] = least
    return [replace(pair, p_holm=corrected.get((pair.first, pair.second))) for pair in pairs]
