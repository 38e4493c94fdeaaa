"""Whether scans lie as the training scans did: a check that asks their geometry, not the network.

A model that was trained on upright objects answers for lying ones with high confidence and without a word. So a run
keeps, in ``orientation.json``, how its training clouds lie. Each becomes 80 numbers that no scale, place or turn about
the vertical axis changes: the share of its points at each height and distance from the axis, and how lopsided,
two-sided and four-sided each height is. A softmax regression tells the classes apart, once as they lie and once turned
over. Of a scan to be predicted it is asked for each axis that may be up; ``docs/up_axis.md`` has what that finds.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pcclora.atomic import read_json, write_json
from pcclora.data import AXES, Axis, LabelledDataset, turn_upright
from pcclora.data.readers.up_axis import TURNS
from pcclora.data.sets.folder import thin
from pcclora.errors import PccloraError
from pcclora.extras import of_extra
from pcclora.forms import check_form
from pcclora.log import logger
from pcclora.text import visible

FILE = "orientation.json"
ODDS = 10.0
"""How many times likelier another axis must be than the one in use before a word is said."""
MOST_OBJECTS, MOST_POINTS = 2000, 2048
"""What is learned from: this many training objects, drawn at random once and for all, and so many points of each."""
FEWEST_OBJECTS, MOST_COMPARED = 10, 200
"""Fewer training objects teach nothing; more objects of a data set are not looked at."""
GUESSES = (*AXES, "-x", "-z")
"""Directions of a file that may be up. With a sign: how y-up files look to a run whose files had another axis up and
did not say so. That is the rarer mistake, and must be likelier by as much again.
"""
HEIGHTS, RINGS = 8, 6
REACH = 2.0
"""What the heights (to both sides) and the rings cover, in units of the cloud's root mean square radius."""
_NUMBERS = HEIGHTS * (RINGS + 4)
_FORM = {"mean": [float], "scale": [float], "upright": [[float]], "turned": [[float]], "trust": float}
_FREEDOM = 0.3  # sklearn's C; chosen, as ODDS is, on objects that nothing is reported on

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Orientation:
    """How the training clouds of a run lie.

    Attributes:
        mean: (80,) of the numbers that describe a cloud.
        scale: (80,) their spread.
        upright: (classes, 81) weights and bias of "class c as it lies".
        turned: (classes, 81) weights and bias of "class c turned over".
        trust: What its log odds are multiplied by: 0 where they told nothing of objects that were not learned from.
    """

    mean: Floats
    scale: Floats
    upright: Floats
    turned: Floats
    trust: float = 1.0

    def log_odds(self, numbers: Floats) -> Floats:
        """Return how much likelier it is that clouds stand than that they lie, as natural logarithms (...).

        Args:
            numbers: (..., 80) that describe them.
        """
        given = np.insert((numbers - self.mean) / self.scale, _NUMBERS, 1.0, axis=-1)
        stands, lies = (np.logaddexp.reduce(given @ weights.T, axis=-1) for weights in (self.upright, self.turned))
        return np.asarray(self.trust * (stands - lies))

    def by_guess(self, cloud: NDArray[np.floating], up: Axis) -> Floats:
        """Return the log odds (5,) for each direction of a file that may be up, in the order of ``GUESSES``.

        Args:
            cloud: (N, 3) as it was read, turned so that ``up`` is y.
            up: The axis that was said to be vertical.
        """
        return self.log_odds(_views(cloud[thin(len(cloud), MOST_POINTS)] @ TURNS[up]))

    def write(self, path: Path) -> None:
        """Write or replace ``orientation.json``."""
        rounded = {name: np.round(values, 5).tolist() for name, values in vars(self).items()}
        write_json(path, rounded)

    @classmethod
    def read(cls, path: Path) -> "Orientation":
        """Read ``orientation.json``.

        Raises:
            PccloraError: If it is damaged.
        """
        held, remedy = read_json(path), "without it nothing is said of scans that lie otherwise"
        check_form(held, _FORM, path, remedy=remedy)
        upright, turned = held["upright"], held["turned"]
        lengths = {len(held["mean"]), len(held["scale"]), *(len(row) - 1 for row in upright + turned)}
        if not upright or not turned or lengths != {_NUMBERS}:
            raise PccloraError(f"{path}: is not of {_NUMBERS} numbers a cloud; another version wrote it: {remedy}")
        mean, scale, upright, turned = (np.array(values) for values in (held["mean"], held["scale"], upright, turned))
        return cls(mean, scale, upright, turned, held["trust"])


def describe(cloud: NDArray[np.floating]) -> Floats:
    """Return 80 numbers of a cloud (N, 3) with y up that do not change with its place, its scale, or a turn about y."""
    centred = cloud - cloud.mean(axis=0, dtype=np.float64)
    radius = np.sqrt((centred**2).sum(axis=1).mean())
    x, y, z = (centred / (radius or 1.0)).T
    height = np.clip((y + REACH) / (2 * REACH) * HEIGHTS, 0, HEIGHTS - 1).astype(np.int64)
    ring = np.clip(np.hypot(x, z) / REACH * RINGS, 0, RINGS - 1).astype(np.int64)
    shares = np.bincount(height * RINGS + ring, minlength=HEIGHTS * RINGS) / len(cloud)
    across, slices = x + 1j * z, height[:, None] == np.arange(HEIGHTS)
    count, first, second, fourth = (np.abs(across**power @ slices) for power in (0, 1, 2, 4))
    sides = [count, first]
    for power, moment in ((2, second), (4, fourth)):  # all of ``count`` where the points lie on one line, or on a cross
        sides.append(count * moment / np.maximum(np.abs(across) ** power @ slices, 1e-12))
    return np.concatenate([np.sqrt(shares), np.concatenate(sides) / len(cloud)])


def learn(dataset: LabelledDataset) -> Orientation | None:
    """Learn how the clouds of a training set lie, from them and from themselves turned over.

    Args:
        dataset: The training set.

    Returns:
        None of images, and of fewer than ten objects.
    """
    if dataset.holds != "point clouds" or len(dataset) < FEWEST_OBJECTS:
        return None
    chosen = thin(len(dataset), MOST_OBJECTS)
    numbers = np.array([_views(dataset[int(index)].points[:, :3]) for index in chosen])
    labels = dataset.labels[chosen]
    return replace(_fit(numbers, labels), trust=_trust(numbers, labels))


def _views(points: NDArray[np.floating]) -> Floats:
    """Describe (5, 80) a cloud turned so that x, y, z, -x, -z is up, as ``GUESSES`` has them."""
    cloud = points[thin(len(points), MOST_POINTS)]
    turned = [turn_upright(cloud, axis) for axis in AXES]
    turned += [cloud @ TURNS[axis] for axis in ("x", "z")]  # a quarter turn back
    return np.stack([describe(view) for view in turned])


def _fit(numbers: Floats, labels: NDArray[np.int64]) -> Orientation:
    """Fit the regression to views (M, 5, 80) of which the second, with y up, is how the object lies."""
    with of_extra("train", "training"):
        from sklearn.linear_model import LogisticRegression

    turned = np.arange(len(GUESSES)) != GUESSES.index("y")
    table, answers = numbers.reshape(-1, _NUMBERS), (2 * labels[:, None] + turned).ravel()
    mean, scale = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could be fitted a little better
        regression = LogisticRegression(C=_FREEDOM, max_iter=300).fit((table - mean) / scale, answers)
    weights = np.column_stack([regression.coef_, regression.intercept_])
    if len(weights) == 1:  # of two answers sklearn keeps one difference
        weights = np.concatenate([-weights, weights]) / 2
    return Orientation(mean, scale, weights[regression.classes_ % 2 == 0], weights[regression.classes_ % 2 == 1])


def _trust(numbers: Floats, labels: NDArray[np.int64]) -> float:
    """Return the factor of the log odds under which each half of the objects is best explained by the other half."""
    half = np.random.Generator(np.random.Philox(1)).permutation(len(labels)) % 2
    odds = np.concatenate(
        [_fit(numbers[half == own], labels[half == own]).log_odds(numbers[half != own]) for own in (0, 1)]
    )
    factors = np.linspace(0, 1, 101)
    losses = [np.logaddexp.reduce(f * odds, axis=1).mean() - f * odds[:, GUESSES.index("y")].mean() for f in factors]
    return float(factors[int(np.argmin(losses))])


def keep(dataset: LabelledDataset, folder: Path) -> None:
    """Write into a run's folder how its training clouds lie, where that can be learned."""
    found = learn(dataset)
    if found is not None:
        found.write(folder / FILE)


def warn_of_turned(
    folder: Path, clouds: Sequence[NDArray[np.floating]], names: Sequence[str], *, up: Axis, option: str
) -> None:
    """Say which clouds, or that all of them, would lie as a run's training clouds did if another axis were up.

    Args:
        folder: The run's; one that knows nothing of how its clouds lie is not asked.
        clouds: (N, 3) each, as they were read, turned so that ``up`` is y.
        names: Of each.
        up: The axis that was said to be vertical.
        option: How to say that another is, as ``--up {}``.

    Raises:
        PccloraError: If ``orientation.json`` is damaged.
    """
    if not clouds or not (folder / FILE).is_file():
        return
    held = Orientation.read(folder / FILE)
    odds = np.array([held.by_guess(cloud, up) for cloud in clouds])
    gains = odds - odds[:, [GUESSES.index(up)]]
    prior = np.array([0.0 if guess in AXES else -np.log(ODDS) if up == "y" else -np.inf for guess in GUESSES])
    together, alone = gains.sum(axis=0) + prior, gains + prior  # objects are independent: their odds multiply
    if together.max() > np.log(ODDS):
        _say(names, len(names), GUESSES[together.argmax()], float(together.max()), option)
        return
    sure = alone.max(axis=1) > np.log(ODDS * len(names))  # among many, some seem to lie by chance
    for place, guess in enumerate(GUESSES):
        rows = np.flatnonzero((alone.argmax(axis=1) == place) & sure).tolist()
        if rows:
            _say([names[row] for row in rows], len(names), guess, float(np.median(alone[rows, place])), option)


def warn_of_turned_data(folder: Path, dataset: LabelledDataset, *, up: Axis | None) -> None:
    """Say of a data set what :func:`warn_of_turned` says of files, by a few hundred of its objects.

    Args:
        folder: The run's.
        dataset: Its clouds have y up.
        up: The axis that was said to be vertical in its files; None where nothing can be said of it.
    """
    if up is None or dataset.holds != "point clouds":
        return
    rows = thin(len(dataset), MOST_COMPARED).tolist()
    clouds = [dataset[row].points[:, :3] for row in rows]
    warn_of_turned(folder, clouds, [dataset.name_of(row) for row in rows], up=up, option="data.up={}")


def _say(names: Sequence[str], of: int, guess: str, gain: float, option: str) -> None:
    few = visible(names[0]) if len(names) == 1 else f"{len(names)} of {of} files (as {visible(names[0])})"
    odds = f"{np.exp(gain):.0f} to 1" if gain < np.log(1000) else "over 1000 to 1"
    if guess in AXES:
        remedy = f"if {guess} is their vertical axis, say {option.format(guess)}"
    else:
        remedy = f"did the training scans have {guess[1]} up? Then train with data.up={guess[1]}"
    logger.warning("%s: unlike the training scans, but like them with %s up (odds %s); %s", few, guess, odds, remedy)
