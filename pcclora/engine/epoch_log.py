"""What is seen of a run while it trains: a progress bar, a line an evaluation, metrics.csv, timing.csv, TensorBoard."""

import logging
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pcclora.atomic import writing
from pcclora.engine.run_folder import RunFolder, append_row

logger = logging.getLogger("pcclora")
QUANTITIES = ("loss", "accuracy", "instance_miou")


class EpochLog:
    """Writes epochs, from the main process; a context.

    Args:
        folder: The run; None writes and shows nothing.
        epochs: Of the whole run.
        steps: Batches of an epoch.
        done: Epochs done before this start; TensorBoard forgets later ones.
        active: False on all but the main process.
    """

    def __init__(self, folder: RunFolder | None, epochs: int, steps: int, done: int, *, active: bool) -> None:
        self.folder = folder if active else None
        self.epochs, self.steps, self.done = epochs, steps, done

    def __enter__(self) -> Self:
        from tqdm import tqdm

        shape = {"total": self.epochs * self.steps, "initial": self.done * self.steps, "dynamic_ncols": True}
        quiet = None if self.folder and sys.stderr else True  # None: off where there is no terminal
        self.bar: Any = tqdm(desc="training", unit="step", disable=quiet, **shape)
        if self.folder:
            self.events = _Events(self.folder.path / "tensorboard", purge=self.done + 1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.close()
        if self.folder:
            self.events.close()

    def step(self) -> None:
        """Note one batch done."""
        self.bar.update()

    def write(self, row: dict[str, float | None], timing: dict[str, float]) -> None:
        """Write an epoch down.

        Args:
            row: A line of metrics.csv, with ``epoch``; None where nothing was evaluated.
            timing: Seconds and memory.
        """
        if self.folder is None:
            return
        epoch = int(row["epoch"] or 0)
        append_row(self.folder.timing, {"epoch": epoch, **timing})
        append_row(self.folder.metrics, row)
        known = {name: value for name, value in row.items() if value is not None and name != "epoch"}
        self.events.write({name.replace("_", "/", 1): value for name, value in (known | timing).items()}, epoch)
        if any(name.startswith(("test", "validation")) for name in known):
            shown = [f"{k.replace('_', ' ')} {v:.4g}" for k, v in known.items() if k.partition("_")[2] in QUANTITIES]
            logger.info("epoch %d of %d: %s", epoch, self.epochs, ", ".join(shown))


class _Events:
    """A TensorBoard file of this start.

    torch's SummaryWriter writes in a thread of its own, which ends in a traceback where the disk is full.

    Args:
        folder: Is made if it is not there.
        purge: TensorBoard forgets this step and later ones of earlier files.
    """

    def __init__(self, folder: Path, *, purge: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.path = folder / f"events.out.tfevents.{time.time():.6f}.{os.getpid()}"
        with writing(self.path):
            folder.mkdir(exist_ok=True)
            self.file = self.path.open("xb")
            self.records = RecordWriter(self.file)
            self.records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
            start = SessionLog(status=SessionLog.START)
            self.records.write(Event(wall_time=time.time(), step=purge, session_log=start).SerializeToString())

    def write(self, scalars: dict[str, float], step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from torch.utils.tensorboard.summary import scalar

        with writing(self.path):
            for tag, value in scalars.items():
                summary = scalar(tag, value)  # type: ignore[no-untyped-call]
                self.records.write(Event(wall_time=time.time(), step=step, summary=summary).SerializeToString())
            self.file.flush()

    def close(self) -> None:
        with writing(self.path):
            self.file.close()
