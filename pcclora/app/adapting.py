"""Training on what is labelled, in a process of its own: an ordinary ``pcclora train-partseg``, read by its files."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pcclora.app.labels import LabelFolder
from pcclora.config import load_config
from pcclora.data import Axis
from pcclora.engine.run_folder import RunFolder, default_output, read_rows
from pcclora.errors import PccloraError
from pcclora.tasks.registry import TASKS

What = Literal["parts", "classes"]
COMMANDS = {"parts": ("train-partseg", "part_folder"), "classes": ("train-cls", "folder")}
_START = "import sys; from pcclora.tools.command import main; sys.exit(main())"


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        done: Epochs that are done.
        epochs: Of all.
        left: Seconds that the others will take, by those that are done; None before the first.
        metrics: The last line of metrics.csv.
    """

    done: int
    epochs: int
    left: float | None
    metrics: dict[str, float]


class Training:
    """One training process.

    Args:
        labels: What it is trained on.
        what: Parts, or classes: the folder of a class is named after it.
        up: The axis of the scans that is vertical.
        settings: Further ``key=value`` of the command, as ``adapter=lora`` and ``train.epochs=30``.
        output: Folder of the run; None is one below ``runs/``.

    Raises:
        PccloraError: If there is too little to train on, or a setting is none.
    """

    def __init__(
        self, labels: LabelFolder, *, what: What, up: Axis, settings: Sequence[str] = (), output: Path | None = None
    ) -> None:
        _check(labels, what)
        command, data = COMMANDS[what]
        task = command.removeprefix("train-")
        words = [f"data={data}", f"data.root={labels.root}", f"data.up={up}", *settings]
        self.epochs = int(load_config(TASKS[task].schema, overrides=words).train.epochs)
        self.folder = RunFolder(output or default_output(task, [labels.root.resolve().name, "app"]))
        self.folder.path.parent.mkdir(parents=True, exist_ok=True)
        self._log = self.folder.path.with_name(f"{self.folder.path.name}.log")
        line = [sys.executable, "-c", _START, command, *words, "--output", str(self.folder.path)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
        self.begun = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether it trains, or finishes what it has trained."""
        return self._process.poll() is None

    @property
    def error(self) -> str:
        """What the process has said last if it has failed, else nothing."""
        if self.running or self._process.returncode == 0:
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return next((line for line in reversed(lines) if line.startswith("error")), "".join(lines[-1:]) or "ended")

    def progress(self) -> Progress:
        """Read how far it is; a line that is being written is left for the next time."""
        rows: list[dict[str, float]] = []
        seconds: list[float] = []
        with contextlib.suppress(PccloraError):
            rows = read_rows(self.folder.metrics)
            seconds = [row["train_seconds"] for row in read_rows(self.folder.timing)]
        left = None if not seconds else sum(seconds) / len(seconds) * (self.epochs - len(rows))
        return Progress(len(rows), self.epochs, left, rows[-1] if rows else {})

    def cancel(self) -> None:
        """End it as Ctrl-C does: what it has is kept, and ``--resume`` goes on with it."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end; one that does not come in time is made."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self.error:
            self._log.unlink(missing_ok=True)


def _check(labels: LabelFolder, what: What) -> None:
    counts = labels.finished()
    if not counts:
        raise PccloraError("no scan is finished yet: give every point of two or more a part, then adapt")
    if max(counts.values()) < 2:
        raise PccloraError("one scan of a class is finished: finish a second one, because one is tested on")
    if what == "classes" and len(counts) < 2:
        raise PccloraError("all finished scans are of one class; a second one is needed to tell it from")
