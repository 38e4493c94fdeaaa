"""The corruptions by name, with what their five severities mean, and the sets of them that the literature tests on.

Sources:

* ModelNet40-C: Sun et al., "Benchmarking Robustness of 3D Point Cloud Recognition Against Common Corruptions"
  (arXiv 2201.12296), by its released code, jiachens/ModelNet40-C fad786c: fifteen corruptions;
* ModelNet-C: Ren et al., "Benchmarking and Analyzing Point Cloud Classification under Corruptions" (arXiv 2202.03377),
  by its code, jiawei-ren/ModelNet-C: the two that drop points;
* UPP: Ai et al., "Unified Point-Level Prompting for Robust Point Cloud Analysis" (arXiv 2507.18997), by its code,
  zhoujiahuan1991/ICCV2025-UPP: one strength each, the third severity here.

Each docstring says what is ours. Counts are of clouds of 1,024 points, and the same shares of others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from pcclora.data.base import FloatArray
from pcclora.data.corruptions import density, noise, shape, view
from pcclora.data.corruptions.scene import Change, Scene
from pcclora.data.transforms import stream
from pcclora.errors import PccloraError, did_you_mean

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    Attributes:
        change: What it does.
        levels: What each of the five severities means to it.
        kind: ``noise``, ``density``, ``view`` or ``shape``.
    """

    change: Change
    levels: tuple[Any, Any, Any, Any, Any]
    kind: str


CORRUPTIONS: dict[str, Corruption] = {
    "uniform": Corruption(noise.uniform, (0.01, 0.02, 0.03, 0.04, 0.05), "noise"),
    "gaussian": Corruption(noise.gaussian, (0.01, 0.015, 0.02, 0.025, 0.03), "noise"),
    "impulse": Corruption(noise.impulse, (30, 25, 20, 15, 10), "noise"),
    "upsampling": Corruption(noise.upsampling, (5, 4, 3, 2, 1), "noise"),
    "background": Corruption(noise.background, (45, 40, 35, 30, 20), "noise"),
    "outliers": Corruption(noise.outliers, (12, 24, 48, 96, 192), "noise"),
    "shell": Corruption(noise.shell, (6, 12, 24, 48, 96), "noise"),
    "density_dec": Corruption(density.density_dec, (1, 2, 3, 4, 5), "density"),
    "density_inc": Corruption(density.density_inc, (1, 2, 3, 4, 5), "density"),
    "cutout": Corruption(density.cutout, (2, 3, 5, 7, 10), "density"),
    "dropout_global": Corruption(density.dropout_global, (0.25, 0.375, 0.5, 0.625, 0.75), "density"),
    "dropout_local": Corruption(density.dropout_local, (100, 200, 300, 400, 500), "density"),
    "crop": Corruption(density.crop, (0.125, 0.1875, 0.25, 0.375, 0.5), "density"),
    "occlusion": Corruption(view.occlusion, SEVERITIES, "view"),
    "lidar": Corruption(view.lidar, SEVERITIES, "view"),
    "rotation": Corruption(shape.rotation, (2.5, 5, 7.5, 10, 15), "shape"),
    "shear": Corruption(shape.shear, (0.05, 0.1, 0.15, 0.2, 0.25), "shape"),
    "scale": Corruption(shape.scale, (0.1, 0.2, 0.3, 0.4, 0.5), "shape"),
    "distortion": Corruption(shape.distortion, (0.1, 0.2, 0.3, 0.4, 0.5), "shape"),
    "distortion_rbf": Corruption(shape.distortion_rbf, (0.025, 0.05, 0.075, 0.1, 0.125), "shape"),
    "distortion_rbf_inv": Corruption(shape.distortion_rbf_inv, (0.025, 0.05, 0.075, 0.1, 0.125), "shape"),
    "upp": Corruption(
        density.upp, ((0.125, 12, 6), (0.1875, 24, 12), (0.25, 48, 24), (0.375, 96, 48), (0.5, 192, 96)), "density"
    ),
}

_NOT_MODELNET40_C = ("outliers", "shell", "dropout_global", "dropout_local", "crop", "scale", "upp")
SETS: dict[str, tuple[str, ...]] = {
    "modelnet40-c": tuple(name for name in CORRUPTIONS if name not in _NOT_MODELNET40_C),
    "all": tuple(CORRUPTIONS),
}


def find_corruptions(words: Sequence[str]) -> tuple[str, ...]:
    """Return the names that words mean, in the order of the table: names, or sets of them.

    Raises:
        PccloraError: If one is neither; the message has the nearest name.
    """
    for word in words:
        if word not in CORRUPTIONS and word not in SETS:
            raise PccloraError(
                f"unknown corruption '{word}'{did_you_mean(word, [*SETS, *CORRUPTIONS])}; there are "
                f"{', '.join(CORRUPTIONS)}; or {' and '.join(SETS)} of them"
            )
    wanted = {name for word in words for name in SETS.get(word, (word,))}
    return tuple(name for name in CORRUPTIONS if name in wanted)


def check_severities(severities: Sequence[int]) -> tuple[int, ...]:
    """Return severities, ascending, each once.

    Raises:
        PccloraError: If there is none, or one is not 1 to 5.
    """
    wrong = [str(severity) for severity in severities if severity not in SEVERITIES]
    if wrong or not severities:
        raise PccloraError(f"severity {', '.join(wrong) or 'none'}: choose from 1, 2, 3, 4 and 5")
    return tuple(sorted(set(severities)))


def corrupt(
    seen: FloatArray, stored: FloatArray | None = None, *, name: str, severity: int, seed: int = 0, index: int = 0
) -> FloatArray:
    """Corrupt one cloud; a pure function of its arguments, the same on every machine.

    Args:
        seen: (N, 3) the points that a model would see, y up; they are not changed.
        stored: (M, 3) all points of the object; without them those that are seen are all.
        name: Of :data:`CORRUPTIONS`.
        severity: 1 to 5.
        seed: Another seed, other randomness.
        index: The object's place in its data set; another place, other randomness.

    Returns:
        A new (K, 3) float32 array; K depends on N, name and severity alone. The object's place and size stay, but for
        corruptions that put it into the cube of edge 2, as ModelNet40-C does.

    Raises:
        PccloraError: If there is no such corruption or severity.
    """
    (name,), (severity,) = find_corruptions([name]), check_severities([severity])
    every = seen if stored is None else stored
    middle = every.mean(axis=0, dtype=np.float64)
    radius = float(np.sqrt(((every - middle) ** 2).sum(axis=1).max())) or 1.0
    scene = Scene((seen - middle) / radius, (every - middle) / radius)
    held = CORRUPTIONS[name]
    changed = held.change(scene, held.levels[severity - 1], stream(seed, crc32(name.encode()), severity, index))
    return np.asarray(changed * radius + middle, np.float32)
