"""How parameters are fitted, whatever the task: the section ``train`` of a configuration."""

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from pcclora.errors import PccloraError

LARGEST_RATE = 1e30
"""AdamW's first step is ten times it, and must be a float32."""
MOST_WORKERS = 1024
_DEVICE = re.compile(r"auto|cpu|(cuda|mps|xpu)(:\d{1,3})?")


@dataclass
class Training:
    """How parameters are fitted: AdamW, cosine learning rate after a warm-up, clipped gradients.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Samples a step, on each process.
        lr: Highest learning rate.
        head_lr: Of the head, which starts at random numbers beside a trunk that does not; it rises and falls with the
            others. 0 is ``lr``.
        min_lr: Learning rate where the warm-up starts and the cosine ends.
        weight_decay: For all trained tensors but biases, norms (one dimension) and tokens.
        warmup_epochs: Linear rise of the learning rate, in epochs.
        schedule_by: ``step`` changes the learning rate at every step; ``epoch`` once an epoch, as Point-MAE does.
        clip: Largest L2 norm of the gradient over the trained parameters; 0 is off.
        accumulation: Batches whose gradients are averaged into one step.
        double_step: Step AdamW twice with each gradient, before and after it is clipped, as the part-segmentation
            scripts of Point-MAE, Point-M2AE, ReCon, ACT, IDPT, PPT and Point-FEMAE do: a slip that their figures
            were made with.
        precision: ``bf16`` computes under autocast; parameters stay float32.
        compile: Train through ``torch.compile``; evaluations are as without it. The first step waits for the compiler.
        device: ``auto`` takes the accelerator when there is one; ``cpu``, ``cuda`` or one of several, as ``cuda:1``.
            What is evaluated later takes the accelerator that is there then.
        workers: Loader processes; the results do not depend on it.
        eval_every: Epochs between evaluations for the curves; 0 is none but the last. A selection by validation or
            test accuracy looks at every epoch.
        checkpoint_every: Epochs between checkpoints.
        trackers: What is told the curves beside ``metrics.csv``: ``tensorboard``, ``wandb``, ``mlflow``, or none
            (``[]``). The latter two find their server, project and key where they always do, in their environment.
    """

    epochs: int = 15
    batch_size: int = 32
    lr: float = 6e-3
    head_lr: float = 0.0
    min_lr: float = 1e-6
    weight_decay: float = 0.05
    warmup_epochs: float = 2.0
    schedule_by: Literal["step", "epoch"] = "step"
    clip: float = 10.0
    accumulation: int = 1
    double_step: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    device: str = "auto"
    workers: int = 0
    eval_every: int = 5
    checkpoint_every: int = 1
    trackers: list[Literal["tensorboard", "wandb", "mlflow"]] = field(default_factory=lambda: ["tensorboard"])

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        at_least(self, 1, "epochs", "batch_size", "accumulation", "checkpoint_every")
        at_least(self, 0, "lr", "head_lr", "min_lr", "weight_decay", "warmup_epochs", "clip", "workers", "eval_every")
        at_most(self, LARGEST_RATE, "lr", "head_lr", "min_lr")
        if self.head_lr and not self.lr:
            raise PccloraError(
                f"train.lr is 0, and train.head_lr is {self.head_lr}; to train the head alone: adapter=linear"
            )
        at_most(self, MOST_WORKERS, "workers")
        if not _DEVICE.fullmatch(self.device):
            raise PccloraError(f"device is '{self.device}'; choose auto, cpu, cuda, or one of several, as cuda:1")


def at_least(config: object, minimum: int, *names: str) -> None:
    """Raise unless each named field of ``config`` is a finite number from ``minimum``.

    Raises:
        PccloraError: Naming the field, its value and the minimum.
    """
    for name in names:
        value = getattr(config, name)
        if not minimum <= value < math.inf:
            raise PccloraError(f"{name} is {value}; choose at least {minimum}, and a finite number")


def at_most(config: object, maximum: float, *names: str) -> None:
    """Raise unless each named field of ``config`` is at most ``maximum``.

    Raises:
        PccloraError: Naming the field, its value and the maximum.
    """
    for name in names:
        value = getattr(config, name)
        if not value <= maximum:
            raise PccloraError(f"{name} is {value}; choose at most {maximum}")
