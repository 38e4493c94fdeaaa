"""One run of any task, from its configuration to its finished folder: what the ``train`` tools call."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from pcclora import adapters
from pcclora.atomic import refuse_existing
from pcclora.config import to_yaml
from pcclora.engine.environment import make_accelerator
from pcclora.engine.lock import locked
from pcclora.engine.loop import fit
from pcclora.engine.run_folder import RunFolder, open_run
from pcclora.models.backbone import Backbone
from pcclora.paths import file_sha256
from pcclora.runs.build import anchored, base_checkpoint
from pcclora.runs.finish import finish
from pcclora.runs.prepare import Prepared, prepare
from pcclora.runs.splits import load_splits, recorded_splits
from pcclora.tasks.settings import AdaptationRun


def train(config: AdaptationRun, output: Path, *, resume: bool = False) -> RunFolder:
    """Adapt a backbone to a task and write the run's folder.

    Args:
        config: The run; its class says which task.
        output: Its folder; with ``resume`` the folder of the run to go on with.
        resume: Go on from the last checkpoint.

    Returns:
        The finished folder.

    Raises:
        PccloraError: If the folder holds another run, or anything that the run needs cannot be used.
    """
    if resume and RunFolder.open(output).finished:
        return RunFolder(output)
    config = anchored(config)
    accelerator = make_accelerator(config.train)
    if not resume and accelerator.is_main_process:
        refuse_existing(output)
    splits, record = recorded_splits(load_splits(config), output, resume=resume)
    run = prepare(config, accelerator, splits)
    folder = open_run(output, to_yaml(_as_used(run)), _base(run), record, accelerator, resume=resume)
    with locked(output) if accelerator.is_main_process else nullcontext():
        state = fit(run.job, config.train, folder, accelerator, seed=config.seed)
        finish(run, folder, state)
    return folder


def _as_used(run: Prepared) -> AdaptationRun:
    """Return the configuration with the number of groups that its network has, where the task decides it (0)."""
    used = run.model.config if isinstance(run.model, Backbone) else run.config.model
    return replace(run.config, model=used)


def _base(run: Prepared) -> dict[str, str | None]:
    path = base_checkpoint(run.config)
    return {
        "checkpoint": run.config.checkpoint,
        "path": None if path is None else str(path),
        "sha256": None if path is None else file_sha256(path),
        "fingerprint": adapters.base_fingerprint(run.model),
    }
