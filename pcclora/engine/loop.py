"""The training loop: plain PyTorch on accelerate, from the last checkpoint to the last epoch.

An interrupted run goes on from its checkpoint and ends with the same weights, optimiser state and metrics.csv as one
that was not, bit for bit on the same processor, versions and thread count: everything random comes from the captured
generators or from pure functions of (seed, epoch, index), and everything else is in the checkpoint.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pcclora.data import Loader, set_epoch
from pcclora.engine import checkpoint as checkpoints
from pcclora.engine import random_state
from pcclora.engine.checkpoint import Checkpoint, Tensors
from pcclora.engine.environment import peak_memory_mb
from pcclora.engine.epoch_log import EpochLog
from pcclora.engine.optim import learning_rate, make_optimizer, set_rate
from pcclora.engine.run_folder import RunFolder
from pcclora.engine.settings import Training
from pcclora.errors import PccloraError
from pcclora.metrics.counts import count_macs

if TYPE_CHECKING:
    from accelerate import Accelerator

Row = dict[str, float | None]


class DivergenceError(PccloraError):
    """A loss, or what a model answers, is not finite."""


Batch = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensors]
"""(model, batch) -> means over the batch by name; ``loss`` is minimised, the others are logged."""


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
        patience: Epochs in a row without a higher value after which training ends; 0: never.
    """

    model: nn.Module
    loader: Loader
    loss: Loss
    evaluate: Callable[[nn.Module], dict[str, float]]
    evaluations: tuple[str, ...]
    weights: Callable[[], Tensors]
    load_weights: Callable[[Tensors], None]
    select_by: str | None = None
    patience: int = 0


@dataclass
class _Session:
    """A job as accelerate prepared it, and how far it is."""

    job: Job
    training: Training
    folder: RunFolder | None
    accelerator: "Accelerator"
    model: nn.Module
    compiled: nn.Module
    optimizer: torch.optim.Optimizer
    loader: Loader
    state: Checkpoint


def fit(job: Job, training: Training, folder: RunFolder | None, accelerator: "Accelerator", *, seed: int) -> Checkpoint:
    """Train to the end, from the folder's checkpoint if it has one; the selected weights are in the model then.

    Args:
        job: What is trained.
        training: How.
        folder: Takes checkpoints, metrics.csv, timing.csv and what trackers write; None: nothing is written or shown.
        accelerator: From :func:`~pcclora.engine.environment.make_accelerator`.
        seed: Of dropout and all else that draws while training; each process has its own stream.

    Returns:
        The last state.

    Raises:
        DivergenceError: If the loss stops being finite, or an evaluation is not.
        PccloraError: If the checkpoint does not fit.
    """
    random_state.seed_everything(seed, accelerator.process_index)
    model, optimizer, loader = accelerator.prepare(job.model, make_optimizer(job.model, training), job.loader)
    state = Checkpoint(epoch=0, weights={}, optimizer={}, rng=[])
    compiled: nn.Module = torch.compile(model) if training.compile else model  # type: ignore[assignment]
    session = _Session(job, training, folder, accelerator, model, compiled, optimizer, loader, state)
    _restore(session)
    steps, first = len(loader), session.state.epoch
    active, trackers = accelerator.is_main_process, training.trackers
    with EpochLog(folder, training.epochs, steps, first, active=active, trackers=trackers) as log:
        for epoch in range(first, training.epochs):
            if _out_of_patience(session, epoch):  # here, so that a run that is gone on with ends where it would have
                break
            started = time.perf_counter()
            row = _train_epoch(session, epoch, log)
            trained = time.perf_counter()
            row |= job.evaluate(model) if _due(epoch + 1, session) else dict.fromkeys(job.evaluations)
            _refuse_divergence(row)
            _keep_best(session, row)
            timing = {"train_seconds": trained - started, "evaluate_seconds": time.perf_counter() - trained}
            log.write(row, timing | {"peak_memory_mb": peak_memory_mb(accelerator.device)})
            ends = epoch + 1 == training.epochs or _out_of_patience(session, epoch + 1)
            if ends or (epoch + 1) % training.checkpoint_every == 0:
                _save(session, epoch + 1)
    if session.state.best:
        job.load_weights(session.state.best)
    return session.state


def try_one_cloud(
    model: nn.Module, loader: Loader, inputs: Callable[[Batch], tuple[Tensor, ...]], *, trained: bool = True
) -> None:
    """Pass one cloud through a model, so that settings which do not fit are refused before a folder is made for them.

    Args:
        model: It is left as it was.
        loader: Training batches.
        inputs: What the model takes of a batch.
        trained: Whether it is going to be trained on these batches.

    Raises:
        PccloraError: As the model does, for instance for fewer points than it groups; if a batch has one sample and
            the model normalises over the samples of a batch.
    """
    device = next(model.parameters()).device
    cloud = [tensor.to(device) for tensor in inputs(loader.collate_fn([loader.dataset[0, 0]]))]
    count_macs(model, *cloud)
    if trained and loader.batch_size == 1 and not _learns_from_one(model, cloud):
        raise PccloraError(
            f"a batch has one sample (of {len(loader.dataset)} to train on), and batch norm in the model's head has "
            "nothing to compare it with: choose train.batch_size=2 or more, and have at least as many samples"
        )


@torch.no_grad()
def _learns_from_one(model: nn.Module, cloud: Sequence[Tensor]) -> bool:
    """Whether a model takes a batch of one in train mode; batch norm over a single value is what does not."""
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = [cloud[0].device] if cloud[0].device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            model.train()(*cloud)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # torch's words, of whichever module it is
                raise
            return False
        finally:
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
            for module, mode in modes.items():
                module.training = mode
    return True


def _train_epoch(session: _Session, epoch: int, log: EpochLog) -> Row:
    training, accelerator = session.training, session.accelerator
    optimizer, loader = session.optimizer, session.loader
    session.model.train()
    set_epoch(loader, epoch)
    trained = [p for p in session.model.parameters() if p.requires_grad]
    sums: Tensors = {}
    watch = _LossWatch(epoch + 1)
    for i, batch in enumerate(loader):
        lr = learning_rate(epoch + i / len(loader), training)
        set_rate(optimizer, lr)
        with accelerator.accumulate(session.model):
            means = session.job.loss(session.compiled, batch)
            accelerator.backward(means["loss"])
            if training.double_step:
                optimizer.step()
            if training.clip and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(trained, training.clip)
            optimizer.step()
            optimizer.zero_grad()
        for name, mean in means.items():  # stays on the device: reading a number here would stall it
            sums[name] = sums.get(name, 0) + mean.detach().float()
        watch.see(accelerator.reduce(means["loss"].detach().float()))  # the same on every process: all stop at once
        log.step()
    row: Row = {"epoch": epoch + 1, "lr": lr}
    row |= {f"train_{name}": accelerator.reduce(sums[name] / len(loader), "mean").item() for name in sums}
    _refuse_divergence(row)
    return row


class _LossWatch:
    """Stops a training whose loss is not finite: at once on a CPU, a step later on an accelerator.

    An accelerator is not waited for: a loss goes to the host by itself, behind the work of its step, and is looked at
    when the next step is on its way.

    Args:
        epoch: From 1, for the message.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._sent: tuple[Tensor, torch.Event] | None = None

    def see(self, loss: Tensor) -> None:
        """Note the loss of a step.

        Raises:
            DivergenceError: If it, or on an accelerator the one before it, is not finite.
        """
        if loss.device.type == "cpu":
            self._look(loss)
            return
        before, host, copied = self._sent, loss.to("cpu", non_blocking=True), torch.Event(loss.device)
        copied.record()
        self._sent = host, copied
        if before is not None:
            before[1].synchronize()
            self._look(before[0])

    def _look(self, loss: Tensor) -> None:
        _refuse_divergence({"epoch": self.epoch, "train_loss": float(loss)})


def _refuse_divergence(row: Row) -> None:
    for name, value in row.items():
        if value is not None and not math.isfinite(value):
            what = name.removeprefix("train_").replace("_", " ")
            raise DivergenceError(f"the {what} is {value} in epoch {row['epoch']}; lower train.lr or train.clip")


def _due(epoch: int, session: _Session) -> bool:
    every, last = session.training.eval_every, session.training.epochs
    return session.job.select_by is not None or epoch == last or (every > 0 and epoch % every == 0)


def _out_of_patience(session: _Session, done: int) -> bool:
    """Whether the last epochs, of those that are done, were all without a higher score."""
    patience, best = session.job.patience, session.state.best_epoch
    return bool(patience) and best is not None and done - best >= patience


def _keep_best(session: _Session, row: Row) -> None:
    state, job = session.state, session.job
    value = row.get(job.select_by) if job.select_by else None
    if value is not None and (state.best_value is None or value > state.best_value):  # ties: the earlier epoch
        state.best_epoch, state.best_value = int(row["epoch"] or 0), value
        state.best = {name: tensor.detach().cpu().clone() for name, tensor in job.weights().items()}


def _save(session: _Session, epoch: int) -> None:
    from accelerate.utils import gather_object

    state, accelerator, folder = session.state, session.accelerator, session.folder
    if folder is None:
        return
    state.rng = gather_object([random_state.capture(accelerator.device)])
    state.epoch, state.weights = epoch, session.job.weights()
    state.optimizer = checkpoints.optimizer_tensors(session.optimizer, session.job.model)
    if accelerator.is_main_process:
        checkpoints.save(folder.checkpoint, state)
    accelerator.wait_for_everyone()


def _restore(session: _Session) -> None:
    folder, accelerator = session.folder, session.accelerator
    if folder is None:
        return
    if folder.checkpoint.is_file():
        session.state = state = checkpoints.load(folder.checkpoint)
        epochs, processes = session.training.epochs, accelerator.num_processes
        checkpoints.check_run(state, folder.checkpoint, epochs=epochs, processes=processes)
        session.job.load_weights(state.weights)
        checkpoints.load_optimizer_tensors(session.optimizer, session.job.model, state.optimizer)
        random_state.restore(state.rng[accelerator.process_index], accelerator.device)
    if accelerator.is_main_process:
        folder.cut(session.state.epoch)
