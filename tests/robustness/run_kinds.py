"""The files that runs, adapters and checkpoints consist of, and the configurations: how they are made and read."""

import shutil
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from pcclora import adapters
from pcclora.config import load_config, to_dict
from pcclora.data import read_image
from pcclora.engine import checkpoint as checkpoints
from pcclora.engine.run_folder import RunFolder
from pcclora.models.load import load_checkpoint
from pcclora.runs import TrainedRun
from pcclora.runs.adapt import train
from pcclora.runs.build import build_model
from pcclora.runs.report import class_shares, run_table
from pcclora.studies.fewshot.settings import FewShotRun
from pcclora.tasks.base import Labels
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import ClassificationRun, ImageRun, PartSegmentationRun, PretrainRun
from pcclora.vis import draw_run
from tests.robustness.guard import Answer
from tests.robustness.kinds import XYZ, Kind

TINY = Path(__file__).resolve().parents[1] / "tiny"
SCHEMAS = {
    "cls": ClassificationRun,
    "fewshot": FewShotRun,
    "image": ImageRun,
    "partseg": PartSegmentationRun,
    "pretrain": PretrainRun,
}
SHORT = ["train.epochs=2", "train.eval_every=1", "data.train=16", "data.test=8"]


class Stopped(BaseException):
    """As a kill between two epochs."""


def make_run(folder: Path, task: str = "cls", *, epochs: int | None = None) -> None:
    """Train a tiny run; with ``epochs`` it stops after so many and is not finished."""
    save, saved = checkpoints.save, []

    def stopping(*arguments: object) -> None:
        save(*arguments)
        saved.append(1)
        if len(saved) == epochs:
            raise Stopped

    checkpoints.save = stopping
    torch.set_num_threads(1)
    try:
        overrides = SHORT if task != "image" else SHORT[:2]
        train(load_config(SCHEMAS[task], file=TINY / f"{task}.yaml", overrides=overrides), folder / "run")
    except Stopped:
        pass
    finally:
        checkpoints.save = save


@cache
def made_run(task: str, epochs: int | None, home: Path) -> Path:
    """Return the folder of such a run, made once."""
    make_run(home / f"{task} {epochs}", task, epochs=epochs)
    return home / f"{task} {epochs}"


def run_of(task: str, epochs: int | None, folder: Path) -> None:
    """Fill a folder with a run, and a scan to predict."""
    shutil.copytree(made_run(task, epochs, folder.parent / "runs"), folder, dirs_exist_ok=True)
    np.savetxt(folder / "scan.txt", np.repeat(XYZ, 4, axis=0))


def look(folder: Path) -> Answer:
    """Do all that is done with a finished run: pictures, table, prediction."""
    run = RunFolder.open(folder / "run")
    draw_run(run)
    run_table(run.read_summary(), run.path)
    if "categories" in run.read_summary():
        return {}
    (found,) = class_shares(TrainedRun(run).predict([folder / "scan.txt"])).values()
    return {"shares": sorted(found.values()), "pixels": read_image(run.curves)[:1]}


def pack_of(folder: Path) -> None:
    """Write a pack of a run, with its base weights."""
    run = TrainedRun.open(made_run("cls", None, folder.parent / "runs") / "run")
    run.pack(folder / "run.pcclora", weights=True)


def ask_pack(folder: Path) -> Answer:
    """Predict by a pack."""
    return {"shares": TrainedRun.open(folder / "run.pcclora").predict(np.repeat(XYZ, 4, axis=0)).probabilities}


def resume(folder: Path) -> Answer:
    """Go on with a run that is not finished."""
    torch.set_num_threads(1)
    run = train(load_run_config(folder / "run" / "config.yaml"), folder / "run", resume=True)
    return checkpoint(run.checkpoint.parent)


def checkpoint(folder: Path) -> Answer:
    """Read the training checkpoint."""
    held = checkpoints.load(folder / "last.safetensors")
    answer = {f"weights {name}": tensor.numpy() for name, tensor in held.weights.items()}
    answer |= {f"optimizer {name}": tensor.numpy() for name, tensor in held.optimizer.items()}
    for number, states in enumerate(held.rng):
        answer |= {f"rng {number} {name}": tensor.numpy() for name, tensor in states.items()}
    return answer | {"epoch": held.epoch, "best": repr((held.best_epoch, held.best_value, sorted(held.best)))}


def config(task: str, folder: Path) -> Answer:
    """Read the configuration."""
    return {"config": repr(to_dict(load_config(SCHEMAS[task], file=folder / "a.yaml")))}


def tiny_model(adapter: str | None = None) -> torch.nn.Module:
    """Return the small network with weights from a seed, and an adapter with others."""
    settings = load_config(ClassificationRun, file=TINY / "cls.yaml", overrides=[f"adapter={adapter or 'lora'}"])
    model = build_model(settings, Labels(("a", "b", "c")))
    if adapter:
        torch.manual_seed(1)
        for parameter in adapters.attach(model, settings.adapter).parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def save_adapter(name: str, folder: Path) -> None:
    """Save an adapter of a model whose head was trained a little, too."""
    adapters.save_adapter(tiny_model(name), folder / "adapter")


def load_adapter(folder: Path) -> Answer:
    """Load the adapter onto the model it was made for."""
    model = tiny_model()
    adapters.load_adapter(model, folder / "adapter")
    return {name: tensor.numpy() for name, tensor in adapters.adapter_tensors(model).items()}


def save_weights(name: str, folder: Path) -> None:
    """Save the weights of the network in one of the forms that are read."""
    weights = {key: tensor.contiguous() for key, tensor in tiny_model().state_dict().items()}
    match name.partition(".")[2]:
        case "safetensors":
            save_file(weights, folder / name)
        case "npz":
            np.savez(folder / name, **{key: tensor.numpy() for key, tensor in weights.items()})
        case _:
            old = name.startswith("old")
            torch.save({"model": weights, "epoch": 3}, folder / name, _use_new_zipfile_serialization=not old)


def load_weights(folder: Path) -> Answer:
    """Fill the network with the file."""
    (file,) = folder.iterdir()
    model = tiny_model()
    load_checkpoint(model, file)
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def adapter_kind(name: str, *damaged: str) -> Kind:
    return Kind(partial(save_adapter, name), damaged, load_adapter, checked=True, counted=True)


def weights_kind(name: str, **options: bool) -> Kind:
    return Kind(partial(save_weights, name), (name,), load_weights, counted=True, **options)


BOTH = ("adapter/adapter_config.json", "adapter/adapter_model.safetensors", "adapter/adapter_model.safetensors")
RUNS = {
    **{
        f"{name}.yaml": Kind(
            lambda folder, name=name: shutil.copy(TINY / f"{name}.yaml", folder / "a.yaml"),
            ("a.yaml",),
            partial(config, name),
        )
        for name in SCHEMAS
    },
    "adapter clora": adapter_kind("clora", *BOTH),
    "adapter lora": adapter_kind("lora", *BOTH),
    "adapter bitfit": adapter_kind("bitfit", *BOTH),
    "weights pth": weights_kind("a.pth"),
    "weights old pth": weights_kind("old.pth"),
    "weights safetensors": weights_kind("a.safetensors"),
    "weights npz": weights_kind("a.npz", checked=True),
    "summary": Kind(partial(run_of, "cls", None), ("run/summary.json",), look),
    "summary parts": Kind(partial(run_of, "partseg", None), ("run/summary.json",), look),
    "predictions": Kind(partial(run_of, "cls", None), ("run/predictions.csv",), look),
    "predictions parts": Kind(
        partial(run_of, "partseg", None), ("run/predictions.csv", "run/predicted_parts.safetensors"), look
    ),
    "run tables": Kind(partial(run_of, "cls", None), ("run/metrics.csv", "run/config.yaml"), look),
    "pack": Kind(pack_of, ("run.pcclora",), ask_pack, checked=True, counted=True),
    "resumed": Kind(partial(run_of, "cls", 1), ("run/versions.json", "run/metrics.csv", "run/timing.csv"), resume),
    "resumed checkpoint": Kind(
        partial(run_of, "cls", 1), ("run/checkpoint/last.safetensors",), resume, checked=True, counted=True
    ),
    "checkpoint": Kind(
        lambda folder: shutil.copy(
            made_run("cls", 1, folder.parent / "runs") / "run" / "checkpoint" / "last.safetensors", folder
        ),
        ("last.safetensors",),
        checkpoint,
        checked=True,
        counted=True,
    ),
}
