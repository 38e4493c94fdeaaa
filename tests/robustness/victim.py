"""Runs, or resumes, a tiny run in a process that may kill itself on the way; the kill test runs this file.

Globals given by the caller: ``task``, ``folder``, ``overrides``, ``moment``: None, or ("replace" | "replaced" |
"fsync" | "half", n): SIGKILL right before or after the n-th file takes its name, before the n-th flush, or after half
of the n-th file of tensors is written.
"""

import os
import signal
from pathlib import Path

import safetensors.torch
import torch

from pcclora.config import load_config
from pcclora.engine.pretraining import pretrain
from pcclora.engine.settings import ClassificationRun, ImageRun, PartSegmentationRun, PretrainRun
from pcclora.engine.training import train as adapt

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
    real(descriptor)


def save_file(tensors, path, metadata=None, real=safetensors.torch.save_file):
    real(tensors, path, metadata)
    if die_at("half"):
        os.truncate(path, Path(path).stat().st_size // 2)
        die()


os.replace, os.fsync, safetensors.torch.save_file = replace, fsync, save_file
schema, train = TASKS[task]  # noqa: F821
path = Path(folder)  # noqa: F821
config = load_config(schema, file=Path(__file__).parents[1] / "tiny" / f"{task}.yaml", overrides=overrides)  # noqa: F821
train(config, path, resume=(path / "config.yaml").is_file())
