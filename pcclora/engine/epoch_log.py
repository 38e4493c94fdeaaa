"""What is seen of a run while it trains: a progress bar, a line an evaluation, metrics.csv, timing.csv, trackers."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from pcclora.engine.run_folder import RunFolder, append_row
from pcclora.engine.trackers import Trackers
from pcclora.log import logger

QUANTITIES = ("loss", "accuracy", "instance_miou")


class EpochLog:
    """Writes epochs, from the main process; a context.

    Args:
        folder: The run; None writes and shows nothing.
        epochs: Of the whole run.
        steps: Batches of an epoch.
        done: Epochs done before this start; TensorBoard forgets later ones.
        active: False on all but the main process.
        trackers: What is told the curves as well.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        epochs: int,
        steps: int,
        done: int,
        *,
        active: bool,
        trackers: Sequence[str] = (),
    ) -> None:
        self.folder, self.trackers = folder if active else None, trackers
        self.epochs, self.steps, self.done = epochs, steps, done

    def __enter__(self) -> Self:
        from tqdm import tqdm

        if self.folder:
            self.told = Trackers(self.trackers, self.folder.path, done=self.done)
        shape = {"total": self.epochs * self.steps, "initial": self.done * self.steps, "dynamic_ncols": True}
        quiet = None if self.folder and sys.stderr else True  # None: off where there is no terminal
        self.bar: Any = tqdm(desc="training", unit="step", disable=quiet, **shape)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.close()
        if self.folder:
            self.told.close()

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
        self.told.log({name.replace("_", "/", 1): value for name, value in (known | timing).items()}, epoch)
        if any(name.startswith(("test", "validation")) for name in known):
            shown = [f"{k.replace('_', ' ')} {v:.4g}" for k, v in known.items() if k.partition("_")[2] in QUANTITIES]
            logger.info("epoch %d of %d: %s", epoch, self.epochs, ", ".join(shown))
