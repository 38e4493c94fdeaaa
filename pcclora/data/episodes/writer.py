"""Writes few-shot episodes of any data set in the official form, which :mod:`pcclora.data.episodes.files` describes."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.atomic import creating_folder, write_json
from pcclora.data.base import PointCloudDataset
from pcclora.data.episodes.draw import Episode
from pcclora.data.episodes.files import SIDES, farthest_points, spellings
from pcclora.errors import PccloraError
from pcclora.paths import exists


def write_episodes(episodes: Sequence[Episode], root: str | Path, *, points: int | None = None) -> Path:
    """Write episodes of any data set in the official form, whole or not at all.

    Clouds are stored in farthest-point order, as the official ones are, with their normals or zeros in columns 4 to 6.
    Beside each ``{fold}.pkl`` lies a ``{fold}.json``, which other programs ignore: source, seed, class names, indices.

    Args:
        episodes: Of one setting and of different folds.
        root: The folder in which ``{way}way_{shot}shot`` is made; nothing there is overwritten.
        points: Points of each cloud, 8,192 in the official files. None: all, if all clouds have equally many.

    Returns:
        The folder that was made.

    Raises:
        PccloraError: If the episodes do not belong together, a cloud has too few points, or the folder is there.
    """
    settings = {(episode.way, episode.shot) for episode in episodes}
    if len(settings) != 1 or len({episode.fold for episode in episodes}) != len(episodes):
        raise PccloraError("write_episodes: episodes of one way and shot and of different folds are needed")
    folders = spellings(*settings.pop())
    if exists(other := Path(root) / folders[1]):
        raise PccloraError(f"{other}: is there already, in the other spelling; choose another folder")
    with creating_folder(Path(root) / folders[0]) as folder:
        for episode in episodes:
            content = {side: _rows(getattr(episode, part), episode, points) for side, part in SIDES.items()}
            (folder / f"{episode.fold}.pkl").write_bytes(_pickled(content))
            write_json(folder / f"{episode.fold}.json", episode.record())
    return Path(root) / folders[0]


def _rows(
    dataset: PointCloudDataset, episode: Episode, points: int | None
) -> list[tuple[NDArray[np.float32], int, int]]:
    count = len(episode.support[0].points) if points is None else points
    rows = []
    for index in range(len(dataset)):
        sample = dataset[index]
        if not 0 < count <= len(sample.points) or (points is None and count < len(sample.points)):
            raise PccloraError(
                f"{sample.path}: has {len(sample.points)} points, {count} of each cloud are to be written; pass a "
                "number of points that every cloud has"
            )
        if dataset.features:
            raise PccloraError(f"{dataset.name}: files of episodes have no place for {', '.join(dataset.features)}")
        kept = np.arange(count) if dataset.fps_ordered else farthest_points(sample.points[:, :3], count)
        width = min(6, sample.points.shape[1])
        cloud = np.zeros((count, 6), dtype=np.float32)
        cloud[:, :width] = sample.points[kept, :width]
        rows.append((cloud, sample.label, episode.classes[sample.label]))
    return rows


def _pickled(content: dict[str, Any]) -> bytes:
    """Pickle for the peers' environments: any Python 3, and numpy before 2 as well, which has no ``numpy._core``.

    Protocol 3 names a function in plain text, and this one before the first array's data.
    """
    return pickle.dumps(content, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
