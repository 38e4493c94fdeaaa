"""One pre-training run: masked autoencoding, all parameters, no adapter. What ``pcclora pretrain`` calls."""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pcclora.atomic import make_folder, refuse_existing, write_json
from pcclora.config import to_yaml
from pcclora.data import LabelledDataset, Loader, make_loader, set_epoch
from pcclora.engine.checkpoint import Tensors
from pcclora.engine.environment import make_accelerator
from pcclora.engine.lock import locked
from pcclora.engine.loop import Job, fit, try_one_cloud
from pcclora.engine.machine import check_machine
from pcclora.engine.run_folder import TIMING, RunFolder, open_run, read_rows
from pcclora.errors import PccloraError
from pcclora.models import load_checkpoint
from pcclora.models.backbone import Backbone
from pcclora.registry import DATASETS, MODELS
from pcclora.runs.splits import Splits, recorded_splits
from pcclora.tasks.images import image_loader
from pcclora.tasks.settings import PretrainRun
from pcclora.tensor_file import read_tensors, write_tensors

if TYPE_CHECKING:
    from accelerate import Accelerator


def pretrain(config: PretrainRun, output: Path, *, resume: bool = False) -> RunFolder:
    """Pre-train a backbone and write its run folder.

    Args:
        config: The run.
        output: Its folder; with ``resume`` the folder of the run to go on with.
        resume: Go on from the last checkpoint.

    Returns:
        The finished folder; its model.safetensors is a checkpoint for a classifier.

    Raises:
        PccloraError: If the folder holds another run, or anything that the run needs cannot be used.
    """
    if resume and RunFolder.open(output).finished:
        return RunFolder(output)
    accelerator = make_accelerator(config.train)
    if not resume and accelerator.is_main_process:
        refuse_existing(output)
    check_machine(config.train, accelerator.device)
    train, test = (DATASETS.build(config.data, split=split) for split in ("train", "test"))
    splits, record = recorded_splits(Splits(train, test, test), output, resume=resume)
    train, test = splits.train, splits.test
    torch.manual_seed(config.seed)
    model: Backbone = MODELS.build(config.model, task="pretrain", num_classes=1)
    if model.holds != train.holds:
        raise PccloraError(
            f"model '{MODELS.name_of(config.model)}' takes {model.holds}; {train.name} holds {train.holds}"
        )
    if config.checkpoint != "none":
        load_checkpoint(model, config.checkpoint)
    watch = accelerator.prepare_data_loader(_loader(config, test, train=False))
    job = Job(
        model=model,
        loader=_loader(config, train, train=True),
        loss=_loss,
        evaluate=partial(_evaluate, watch, accelerator, config.seed),
        evaluations=("test_loss",),
        weights=model.state_dict,
        load_weights=partial(_load, model),
    )
    try_one_cloud(model, job.loader, lambda batch: (_samples(batch),))
    folder = open_run(output, to_yaml(config), {"checkpoint": config.checkpoint}, record, accelerator, resume=resume)
    with locked(output) if accelerator.is_main_process else nullcontext():
        fit(job, config.train, folder, accelerator, seed=config.seed)
        if accelerator.is_main_process:
            write_tensors(folder.model, model.state_dict())
            write_json(folder.summary, _summary(config, folder, model, len(train)))
    return folder


def export(folder: RunFolder, path: Path) -> None:
    """Write a finished run's weights as a release ships them: float16, half the size.

    Args:
        folder: The run.
        path: A ``.safetensors`` file; it is replaced atomically.

    Raises:
        PccloraError: If the weights are damaged or not finite in float16, or the file cannot be written.
    """
    weights, _ = read_tensors(folder.model, remedy=folder.made_again)
    halved = {key: v.half() if v.is_floating_point() else v for key, v in weights.items()}
    for key, tensor in halved.items():
        if not tensor.isfinite().all():
            raise PccloraError(f"{folder.model}: '{key}' has values that float16 cannot hold; it is not exported")
    make_folder(path.parent)
    write_tensors(path, halved)


def _loader(config: PretrainRun, dataset: LabelledDataset, *, train: bool) -> Loader:
    if dataset.holds == "images":
        return image_loader(config, dataset, train=train)
    return make_loader(
        dataset,
        points=config.points,
        batch_size=min(config.train.batch_size, len(dataset)),
        train=train,
        seed=config.seed,
        augmentation=config.augmentation,
        workers=config.train.workers,
        drop_last=train,
    )


def _samples(batch: Mapping[str, Tensor]) -> Tensor:
    return batch["images"] if "images" in batch else batch["points"]


def _loss(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensors:
    return {"loss": model(_samples(batch))}


def _load(model: nn.Module, tensors: Tensors) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise PccloraError(f"checkpoint: its weights do not fit the model; was its code changed? {error}") from error


@torch.no_grad()
def _evaluate(loader: Loader, accelerator: "Accelerator", seed: int, model: nn.Module) -> dict[str, float]:
    """Mean loss on the test split, always under the same masks; the training's generator is left as it was."""
    model.eval()
    set_epoch(loader, 0)
    sums = torch.zeros(2, device=accelerator.device)  # of losses, of samples
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for batch in loader:
            samples = _samples(batch)
            sums += torch.stack([model(samples).float() * len(samples), sums.new_tensor(len(samples))])
    model.train()
    total, count = accelerator.reduce(sums).tolist()
    return {"test_loss": total / count}


def _summary(config: PretrainRun, folder: RunFolder, model: Backbone, samples: int) -> dict[str, Any]:
    rows, timing = read_rows(folder.metrics), read_rows(folder.timing, needed=TIMING)
    points = {"points": config.points} if model.holds == "point clouds" else {}
    return {
        "task": "pretraining",
        "data": DATASETS.name_of(config.data),
        "model": MODELS.name_of(config.model),
        "protocol": {
            "augmentation": config.augmentation,
            **points,
            "seed": config.seed,
            "epochs": config.train.epochs,
        },
        "criterion": model.criterion,
        "metrics": {name: rows[-1][name] for name in ("train_loss", "test_loss")},
        "samples": {"train": samples},
        "parameters": {"total": sum(p.numel() for p in model.parameters())},
        "train_seconds": sum(row["train_seconds"] for row in timing),
        "peak_memory_mb": max(row["peak_memory_mb"] for row in timing),
    }
