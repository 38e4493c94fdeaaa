"""A finished run used again: its files read once, its model rebuilt from base checkpoint and adapter."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from pcclora import adapters
from pcclora.config import with_overrides
from pcclora.engine.run_folder import RunFolder
from pcclora.runs.build import build_model
from pcclora.tasks.base import Labels
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import AdaptationRun


class TrainedRun:
    """A finished run; each of its files is read when it is first asked for, and once.

    Args:
        folder: The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @classmethod
    def open(cls, path: Path) -> "TrainedRun":
        """Return the run of a folder.

        Raises:
            PccloraError: If the folder is none of a run.
        """
        return cls(RunFolder.open(path))

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder.path

    @cached_property
    def config(self) -> AdaptationRun:
        """What config.yaml says.

        Raises:
            PccloraError: If it is damaged, or is of something else, as pre-training.
        """
        return load_run_config(self.folder.config)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What summary.json says.

        Raises:
            PccloraError: If it is absent, because the run is not finished, or damaged.
        """
        return self.folder.read_summary()

    @property
    def labels(self) -> Labels:
        """What its model may answer."""
        return Labels.of_summary(self.summary)

    def with_overrides(self, overrides: Sequence[str]) -> AdaptationRun:
        """Return its configuration with ``key=value`` changed.

        Raises:
            PccloraError: If one cannot be used.
        """
        return with_overrides(self.config, overrides, source="command line")

    def model(self, *, checkpoint: str | None = None) -> nn.Module:
        """Rebuild the trained model, in eval mode on the CPU.

        Args:
            checkpoint: Where the base checkpoint is now, if it has moved.

        Raises:
            PccloraError: If the run is not finished, or the base weights are absent or other ones.
        """
        model = build_model(self.config, self.labels, checkpoint=checkpoint)
        adapters.load_adapter(model, self.folder.adapter)  # compares the base's fingerprint
        return model.eval()
