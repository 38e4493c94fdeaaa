"""A finished run used again: its model rebuilt from the base checkpoint and the adapter's files."""

from torch import nn

from pcclora import adapters
from pcclora.engine.run_folder import RunFolder
from pcclora.runs.adapt import build_model
from pcclora.tasks.base import Labels
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import AdaptationRun


def load_run(folder: RunFolder, *, checkpoint: str | None = None) -> tuple[AdaptationRun, nn.Module]:
    """Rebuild the trained model of a finished run, in eval mode on the CPU.

    Args:
        folder: The run.
        checkpoint: Where the base checkpoint is now, if it has moved.

    Raises:
        PccloraError: If the run is not finished, or the base weights are absent or other ones.
    """
    config = load_run_config(folder.config)
    model = build_model(config, Labels.of_summary(folder.read_summary()), checkpoint=checkpoint)
    adapters.load_adapter(model, folder.adapter)  # compares the base's fingerprint
    return config, model.eval()
