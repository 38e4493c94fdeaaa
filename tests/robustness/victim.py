"""Runs, or resumes, a tiny run in a process that may kill itself on the way; the kill test runs this file.

Globals given by the caller: ``task``, ``folder``, ``overrides``, ``moment``: None, or ("replace" | "replaced" |
"fsync" | "half", n): SIGKILL right before or after the n-th file takes its name, before the n-th flush, or after half
of the n-th file of tensors is written. The tasks ``adapter`` and ``checkpoint`` save each value of ``overrides``
over the one in the folder.
"""

import os
import signal
from pathlib import Path

import torch

from pcclora import adapters
from pcclora.config import load_config
from pcclora.engine import checkpoint, random_state
from pcclora.runs.adapt import train as adapt
from pcclora.runs.pretrain import pretrain
from pcclora.tasks.settings import ClassificationRun, ImageRun, PartSegmentationRun, PretrainRun

torch.set_num_threads(1)
TASKS = {
    "cls": (ClassificationRun, adapt),
    "partseg": (PartSegmentationRun, adapt),
    "image": (ImageRun, adapt),
    "pretrain": (PretrainRun, pretrain),
}
count = 0


def die_at(name: str) -> bool:
    global count
    if moment is None or moment[0] != name:  # noqa: F821 - given by the caller
        return False
    count += 1
    return count == moment[1]  # noqa: F821


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def replace(source, target, real=os.replace):
    if die_at("replace"):
        die()
    real(source, target)
    if die_at("replaced"):
        die()


def fsync(descriptor, real=os.fsync):
    if die_at("fsync"):
        die()
    written = os.readlink(f"/proc/self/fd/{descriptor}")
    if ".safetensors." in written and die_at("half"):
        os.truncate(written, os.stat(written).st_size // 2)
        die()
    real(descriptor)


def save_adapter(path: Path, rank: int) -> None:
    """Save an adapter of a rank, with that number in every place."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Linear(32, 4))
    adapters.attach(model, adapters.LoRAConfig(r=rank, target_modules=("0",)))
    with torch.no_grad():
        for parameter in model.adapters.parameters():
            parameter.fill_(rank)
    adapters.save_adapter(model, path)


def save_checkpoint(path: Path, epoch: int) -> None:
    """Save the state after an epoch, with its number in every place."""
    weights = {"weight": torch.full((100, 100), float(epoch))}
    state = checkpoint.Checkpoint(epoch, weights, weights, [random_state.capture(torch.device("cpu"))])
    checkpoint.save(path / "last.safetensors", state)


os.replace, os.fsync = replace, fsync
path = Path(folder)  # noqa: F821
SAVES = {"adapter": save_adapter, "checkpoint": save_checkpoint}
if task in SAVES:  # noqa: F821
    for value in overrides:  # noqa: F821
        SAVES[task](path, value)  # noqa: F821
else:
    schema, train = TASKS[task]  # noqa: F821
    tiny = Path(__file__).parents[1] / "tiny" / f"{task}.yaml"  # noqa: F821
    config = load_config(schema, file=tiny, overrides=overrides)  # noqa: F821
    train(config, path, resume=(path / "config.yaml").is_file())
