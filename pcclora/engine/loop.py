"""The training loop: plain PyTorch on accelerate, from the last checkpoint to the last epoch.

An interrupted run goes on from its checkpoint and ends with the same weights, optimiser state and metrics.csv as one
that was not, bit for bit on the same processor, versions and thread count: everything random comes from the captured
generators or from pure functions of (seed, epoch, index), and everything else is in the checkpoint.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pcclora.data import Batch, set_epoch
from pcclora.engine import checkpoint as checkpoints
from pcclora.engine import random_state
from pcclora.engine.checkpoint import Checkpoint, Tensors
from pcclora.engine.environment import peak_memory_mb
from pcclora.engine.optim import learning_rate, make_optimizer
from pcclora.engine.run_folder import RunFolder, append_row
from pcclora.engine.settings import Training
from pcclora.errors import PccloraError
from pcclora.metrics.counts import count_macs

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Job:
    """What is trained; the loop knows nothing else of the task.

    Attributes:
        model: The model; what requires a gradient is trained.
        loader: Training batches.
        loss: (model, batch) -> means over the batch by name; ``loss`` is minimised, the others are logged.
        evaluate: model -> metrics.csv columns of an evaluation. Called on every process.
        evaluations: Names of those columns.
        weights: Returns what a checkpoint must hold of the model.
        load_weights: Puts that back.
        select_by: Column whose highest value decides which epoch is kept, or None for the last.
    """

    model: nn.Module
    loader: Any
    loss: Callable[[nn.Module, Batch], Tensors]
    evaluate: Callable[[nn.Module], dict[str, float]]
    evaluations: tuple[str, ...]
    weights: Callable[[], Tensors]
    load_weights: Callable[[Tensors], None]
    select_by: str | None = None


def fit(job: Job, training: Training, folder: RunFolder, accelerator: "Accelerator", *, seed: int) -> Checkpoint:
    """Train to the end, from the folder's checkpoint if it has one; the selected weights are in the model then.

    Args:
        job: What is trained.
        training: How.
        folder: Takes checkpoints, metrics.csv, timing.csv and TensorBoard events.
        accelerator: From :func:`~pcclora.engine.environment.make_accelerator`.
        seed: Of dropout and all else that draws while training; each process has its own stream.

    Returns:
        The last state.

    Raises:
        PccloraError: If the loss stops being finite, or the checkpoint does not fit.
    """
    random_state.seed_everything(seed, accelerator.process_index)
    model, optimizer, loader = accelerator.prepare(job.model, make_optimizer(job.model, training), job.loader)
    state = _restore(job, optimizer, folder, accelerator)
    writer = _Writer(folder, state.epoch, accelerator.is_main_process)
    with _progress_bar(training.epochs, len(loader), state.epoch, accelerator) as bar:
        for epoch in range(state.epoch, training.epochs):
            began = time.perf_counter()
            row = _train_epoch(job, model, optimizer, loader, accelerator, training, epoch, bar)
            trained = time.perf_counter()
            due = _due(epoch + 1, training, job.select_by)
            row |= job.evaluate(model) if due else dict.fromkeys(job.evaluations)
            row |= {"epoch": epoch + 1}
            _keep_best(job, state, row)
            timing = {"train_seconds": trained - began, "evaluate_seconds": time.perf_counter() - trained}
            writer.write(row, timing | {"peak_memory_mb": peak_memory_mb(accelerator.device)})
            bar.set_postfix(loss=f"{row['train_loss']:.3f}", epoch=f"{epoch + 1}/{training.epochs}")
            if (epoch + 1) % training.checkpoint_every == 0 or epoch + 1 == training.epochs:
                _save(job, state, optimizer, folder, accelerator, epoch + 1)
    writer.close()
    if state.best:
        job.load_weights(state.best)
    return state


def try_one_cloud(model: nn.Module, loader: Any) -> None:
    """Pass one cloud through a model, so that settings which do not fit are refused before a folder is made for them.

    Args:
        model: It is left as it was.
        loader: Training batches.

    Raises:
        PccloraError: As the model does, for instance for fewer points than it groups.
    """
    points, _, _ = loader.dataset[0, 0]
    count_macs(model, torch.from_numpy(points)[None].to(next(model.parameters()).device))


def _train_epoch(
    job: Job,
    model: nn.Module,
    optimizer: Any,
    loader: Any,
    accelerator: "Accelerator",
    training: Training,
    epoch: int,
    bar: Any,
) -> dict[str, float | None]:
    model.train()
    set_epoch(loader, epoch)
    trained = [p for p in model.parameters() if p.requires_grad]
    sums: Tensors = {}
    for i, batch in enumerate(loader):
        lr = learning_rate(epoch + i / len(loader), training)
        for group in optimizer.param_groups:
            group["lr"] = lr
        with accelerator.accumulate(model):
            means = job.loss(model, batch)
            accelerator.backward(means["loss"])
            if training.clip and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(trained, training.clip)
            optimizer.step()
            optimizer.zero_grad()
        for name, mean in means.items():  # stays on the device: reading a number here would stall it
            sums[name] = sums.get(name, 0) + mean.detach().float()
        bar.update()
    row: dict[str, float | None] = {"epoch": epoch + 1, "lr": lr}
    for name, total in sums.items():
        row[f"train_{name}"] = accelerator.reduce(total / len(loader), "mean").item()
    if not math.isfinite(row["train_loss"] or 0.0):
        raise PccloraError(f"the loss is {row['train_loss']} in epoch {epoch + 1}; lower train.lr or train.clip")
    return row


def _due(epoch: int, training: Training, select_by: str | None) -> bool:
    regular = training.eval_every > 0 and epoch % training.eval_every == 0
    return select_by is not None or regular or epoch == training.epochs


def _keep_best(job: Job, state: Checkpoint, row: dict[str, float | None]) -> None:
    value = row.get(job.select_by) if job.select_by else None
    if value is not None and (state.best_value is None or value > state.best_value):  # ties: the earlier epoch
        state.best_epoch, state.best_value = int(row["epoch"] or 0), value
        state.best = {name: tensor.detach().cpu().clone() for name, tensor in job.weights().items()}


def _save(
    job: Job,
    state: Checkpoint,
    optimizer: Any,
    folder: RunFolder,
    accelerator: "Accelerator",
    epoch: int,
) -> None:
    from accelerate.utils import gather_object

    state.rng = gather_object([random_state.capture(accelerator.device)])
    state.epoch, state.weights = epoch, job.weights()
    state.optimizer = checkpoints.optimizer_tensors(optimizer, job.model)
    if accelerator.is_main_process:
        checkpoints.save(folder.checkpoint, state)
    accelerator.wait_for_everyone()


def _restore(job: Job, optimizer: Any, folder: RunFolder, accelerator: "Accelerator") -> Checkpoint:
    state = Checkpoint(epoch=0, weights={}, optimizer={}, rng=[])
    if folder.checkpoint.is_file():
        state = checkpoints.load(folder.checkpoint)
        job.load_weights(state.weights)
        checkpoints.load_optimizer_tensors(optimizer, job.model, state.optimizer)
        random_state.restore(state.rng[accelerator.process_index], accelerator.device)
    if accelerator.is_main_process:
        folder.cut(state.epoch)
    return state


def _progress_bar(epochs: int, steps: int, done: int, accelerator: "Accelerator") -> Any:
    from tqdm import tqdm

    quiet = None if accelerator.is_main_process else True  # None: off where there is no terminal
    return tqdm(
        total=epochs * steps, initial=done * steps, desc="training", unit="step", disable=quiet, dynamic_ncols=True
    )


class _Writer:
    """Writes an epoch to metrics.csv, timing.csv and TensorBoard, from the main process."""

    def __init__(self, folder: RunFolder, epochs_done: int, active: bool) -> None:
        self.folder, self.active = folder, active
        if active:
            from torch.utils.tensorboard import SummaryWriter

            self.events = SummaryWriter(str(folder.path / "tensorboard"), purge_step=epochs_done + 1)

    def write(self, row: dict[str, float | None], timing: dict[str, float]) -> None:
        if not self.active:
            return
        epoch = int(row["epoch"] or 0)
        append_row(self.folder.timing, {"epoch": epoch, **timing})
        append_row(self.folder.metrics, row)
        for name, value in (row | timing).items():
            if value is not None and name != "epoch":
                self.events.add_scalar(name.replace("_", "/", 1), value, epoch)
        self.events.flush()

    def close(self) -> None:
        if self.active:
            self.events.close()
