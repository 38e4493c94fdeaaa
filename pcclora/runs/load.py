"""``load_run`` and ``load_runs``: finished runs, ready to predict."""

from collections.abc import Iterable
from pathlib import Path
from weakref import WeakSet

import torch

from pcclora.errors import PccloraError
from pcclora.runs.pack import SUFFIX
from pcclora.runs.reload import TrainedRun


def load_run(
    path: str | Path, *, checkpoint: str | Path | None = None, device: str | torch.device | None = "cpu"
) -> TrainedRun:
    """Load a finished run: its model is built, and kept between calls.

    Args:
        path: Its folder, wherever it lies now, what :meth:`TrainedRun.pack` made of it, or ``hub:owner/name`` on the
            Hugging Face hub.
        checkpoint: Where the base checkpoint is now, if it has moved.
        device: Where the model computes; None is where it was trained, if that is here.

    Raises:
        PccloraError: If it is no finished run, there is no such device, or the base weights are absent or other ones.
    """
    run = TrainedRun.open(path, checkpoint=checkpoint, device=device)
    _ = run.model  # what is wrong with it shows here, and not at the first call
    return run


def load_runs(
    paths: Iterable[str | Path], *, checkpoint: str | Path | None = None, device: str | torch.device | None = "cpu"
) -> dict[str, TrainedRun]:
    """Load finished runs that share in memory what they have in common: the backbone, if they were trained on one.

    Runs on other backbones, of other tasks or with other classes may be among them: a tensor is shared where two runs
    have it with the same values, and else it is not. Each has a model of its own, and so they do not wait for each
    other.

    Args:
        paths: Their folders or packs.
        checkpoint: Where the base checkpoint of all of them is now, if it has moved.
        device: Where the models compute; None is where each was trained, if that is here.

    Returns:
        The runs by the names of their folders, or by their paths where two have the same name.

    Raises:
        PccloraError: As :func:`load_run`; or if a path is there twice.
    """
    places = [Path(path) for path in paths]
    last = [place.resolve().name.removesuffix(SUFFIX) for place in places]
    names = [name if last.count(name) == 1 else str(place) for place, name in zip(places, last, strict=True)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise PccloraError(f"{twice[0]}: is named twice")
    together: WeakSet[TrainedRun] = WeakSet()
    runs: dict[str, TrainedRun] = {}
    for name, place in zip(names, places, strict=True):
        runs[name] = TrainedRun.open(place, checkpoint=checkpoint, device=device)
        runs[name].share_with(together)
        _ = runs[name].model
    return runs
