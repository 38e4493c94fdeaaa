"""Where the curves of a run are told beside metrics.csv: TensorBoard, Weights & Biases, MLflow, all by accelerate.

A run that goes on is told to the same experiment: its ids are in the folder's ``trackers.json``. TensorBoard's file is
in the folder, and ends the run where the disk is full, as every file there does; the others are elsewhere, and one that
is lost on the way ends nothing.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pcclora.atomic import read_json, write_json, writing
from pcclora.config import read_yaml
from pcclora.errors import PccloraError
from pcclora.extras import EXTRAS
from pcclora.forms import check_form
from pcclora.log import logger

FILE = "trackers.json"
PROJECT = "pcclora"
_IDS: dict[str, Callable[[Any], str]] = {"wandb": lambda run: str(run.id), "mlflow": lambda run: str(run.info.run_id)}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose packages are not installed.

    Args:
        names: ``train.trackers``.

    Raises:
        PccloraError: Naming the package.
    """
    for name in names:
        if name not in EXTRAS["train"] and find_spec(name) is None:
            raise PccloraError(f"train.trackers: {name} is not installed: pip install {name}, or train.trackers=[]")


class Trackers:
    """The trackers of one start of a run.

    Args:
        names: Which.
        folder: Of the run.
        done: Epochs done before this start; TensorBoard forgets later ones.

    Raises:
        PccloraError: If one cannot be started.
    """

    def __init__(self, names: Sequence[str], folder: Path, *, done: int) -> None:
        self.folder, self.ids = folder, _read_ids(folder / FILE)
        self.running: dict[str, Any] = {}
        _leave_to_the_next_write()
        try:
            for name in names:
                if name == "tensorboard" and not _is_text(folder):
                    logger.warning(
                        "%s: no name that TensorBoard can write; the curves are in metrics.csv alone", folder
                    )
                    continue
                with _started(name, folder):
                    self.running[name] = self._start(name, done)
            if self.ids:
                write_json(folder / FILE, self.ids)
        except PccloraError:
            self.close()
            raise

    def _start(self, name: str, done: int) -> Any:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        own, known = self.folder.name, self.ids.get(name)
        settings: dict[str, dict[str, Any]] = {
            "tensorboard": {"run_name": "", "logging_dir": self.folder / "tensorboard", "purge_step": done + 1},
            "wandb": {
                "run_name": os.environ.get("WANDB_PROJECT", PROJECT),
                **({"id": known, "resume": "allow"} if known else {"name": own}),
            },
            "mlflow": {"experiment_name": PROJECT, "run_name": own, "run_id": known},
        }
        tracker = LOGGER_TYPE_TO_CLASS[name](**settings[name])
        tracker.start()
        if name in _IDS:
            self.ids[name] = _IDS[name](tracker.tracker)
            if not known:
                tracker.store_init_configuration(dict(_flat(read_yaml(self.folder / "config.yaml"))))
        return tracker

    def close(self) -> None:
        """End them.

        Raises:
            PccloraError: If TensorBoard's file cannot be written.
        """
        for name, tracker in list(self.running.items()):
            with self._losing(name):
                tracker.finish()

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Tell the numbers of an epoch.

        Args:
            scalars: Name -> number; what stands before a slash groups them.
            step: The epoch.

        Raises:
            PccloraError: If TensorBoard's file cannot be written.
        """
        for name, tracker in list(self.running.items()):
            with self._losing(name):
                tracker.log(dict(scalars), step=step)

    @contextmanager
    def _losing(self, name: str) -> Iterator[None]:
        """Inside, the run goes on without a tracker that fails, but for the one whose file is the run's."""
        try:
            if name == "tensorboard":
                with writing(self.folder / name):
                    yield
            else:
                yield
        except PccloraError:
            self.running.pop(name, None)  # it would fail again where it is closed
            raise
        except Exception as error:
            self.running.pop(name, None)
            logger.warning("%s is told no more: %s; the curves go on in metrics.csv", name, _first_line(error))


@cache
def _leave_to_the_next_write() -> None:
    """Keep what ends TensorBoard's thread off the terminal: the next write raises it in the thread of the run."""
    shown = threading.excepthook

    def show(problem: threading.ExceptHookArgs) -> None:
        if type(problem.thread).__name__ != "_AsyncWriterThread":
            shown(problem)

    threading.excepthook = show


@contextmanager
def _started(name: str, folder: Path) -> Iterator[None]:
    try:
        with writing(folder / name):
            yield
    except PccloraError:
        raise
    except Exception as error:  # each has a family of its own
        raise PccloraError(
            f"train.trackers: {name} cannot be started: {_first_line(error)}; set it up as its own documentation says, "
            f"and go on by --resume {folder}"
        ) from error


def _is_text(path: Path) -> bool:
    """Tell whether a path is characters: on Linux it may be any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_ids(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    held = read_json(path)
    check_form(held, {"*": str}, path, remedy="delete it, and the trackers begin another experiment")
    return held


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, int | float | str) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
