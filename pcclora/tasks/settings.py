"""What a run's YAML file holds: one dataclass a task. Every key has a default, so an empty file is a run.

The defaults are the embedded run, which needs no file and no download: a small Point-MAE, pre-trained on procedural
shapes, adapted with CLoRA. Published recipes are in ``configs/``.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import pcclora.adapters
import pcclora.data
import pcclora.models  # noqa: F401 - the three rooms register the names that a component field may have
from pcclora.adapters.base import AdapterConfig
from pcclora.config import component
from pcclora.data import DataConfig
from pcclora.engine.settings import Training, at_least, at_most
from pcclora.errors import PccloraError
from pcclora.limits import most_points
from pcclora.registry import ADAPTERS, DATASETS, MODELS

RANDOM_WEIGHTS = ("", "null", "~", "random")
"""What is written for a checkpoint that is none."""


@dataclass
class AdaptationTraining(Training):
    """Training on labelled samples.

    Attributes:
        sampler: ``shuffle`` shows every training sample once an epoch. ``balanced`` shows as many samples an epoch, as
            many of each class as of any other: those of a small class several times, of a large one some, and others
            in the next epoch.
        patience: Epochs without a better validation score after which training ends; 0: never. The learning rate falls
            as for all ``epochs``. It needs ``selection=validation``.
        checkpointing: Keep of each block its input alone, and compute the rest again in the backward pass: the same
            numbers from less memory in more time.
    """

    sampler: Literal["shuffle", "balanced"] = "shuffle"
    patience: int = 0
    checkpointing: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        super().__post_init__()
        at_least(self, 0, "patience")
        if self.checkpointing and self.compile:
            raise PccloraError("checkpointing and compile are both true; the compiler decides itself what it keeps")


@dataclass
class ClassificationTraining(AdaptationTraining):
    """Training of a classifier.

    Attributes:
        label_smoothing: Share of the target that is spread over all classes.
        class_weights: ``balanced`` weighs the loss of a sample by the inverse of how often its class is in the training
            set, 1 in the mean.
    """

    label_smoothing: float = 0.1
    class_weights: Literal["none", "balanced"] = "none"

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise PccloraError(f"label_smoothing is {self.label_smoothing}; choose from 0 up to, not including, 1")


@dataclass
class PretrainTraining(Training):
    """Training of all parameters from scratch; Point-MAE's recipe in its proportions."""

    epochs: int = 100
    lr: float = 1e-3
    batch_size: int = 64
    warmup_epochs: float = 5.0
    eval_every: int = 10


@dataclass
class PartSegmentationTraining(AdaptationTraining):
    """Training of a part segmenter: the negative log-likelihood of each point's part, over all parts of all classes."""

    epochs: int = 10
    batch_size: int = 16
    lr: float = 1e-2
    warmup_epochs: float = 1.0


@dataclass
class AdaptationRun:
    """A frozen backbone, an adapter that learns: what all tasks share.

    Attributes:
        task: What the head does; a run's folder says by it which task it is of.
        seed: Of initial weights, order, augmentation, dropout and split.
        model: The backbone.
        checkpoint: Its weights: ``bundled`` (inside the package), ``none`` (random), ``pretrained`` (timm's own, from
            its hub), or a released file as it is.
        adapter: What is trained; ``full`` trains everything.
        data: The data set.
        augmentation: Preset, named after its protocol, of the training samples.
        train: The fit.
        selection: Which epoch's weights are kept: the ``last``, the best on a ``validation`` part of the training
            set, or ``best_on_test``, which is optimistic: every number it makes carries that label.
        validation_fraction: Share of the training set held out, class by class, for ``validation``.
    """

    task: str = ""
    seed: int = 0
    model: Any = component(MODELS, "point_mae_tiny")
    checkpoint: str = "bundled"
    adapter: AdapterConfig = component(ADAPTERS, "clora")
    data: DataConfig = component(DATASETS, "procedural")
    augmentation: str = "none"
    train: AdaptationTraining = field(default_factory=AdaptationTraining)
    selection: Literal["last", "validation", "best_on_test"] = "last"
    validation_fraction: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        at_least(self, 0, "seed")
        check_checkpoint(self.checkpoint)
        if not 0 < self.validation_fraction < 1:
            raise PccloraError(f"validation_fraction is {self.validation_fraction}; choose between 0 and 1, as 0.1")
        if self.train.patience and self.selection != "validation":
            raise PccloraError(
                f"train.patience is {self.train.patience}: it ends training by a validation score, and "
                f"selection={self.selection} has none; choose selection=validation"
            )


@dataclass
class PointCloudRun(AdaptationRun):
    """What the tasks on point clouds share.

    Attributes:
        points: Points of a cloud that the model sees.
        votes: Augmented copies of every test cloud whose logits are averaged into a further, labelled score.
        best_of: Draws of these votes of which the best is a further score, as the literature has it (299); it is
            chosen on the test set and says so.
    """

    points: int = 1024
    votes: int = 0
    best_of: int = 0

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        super().__post_init__()
        at_least(self, 0, "votes", "best_of")
        if self.best_of and not self.votes:
            raise PccloraError(f"best_of is {self.best_of}: it repeats votes; set votes as well, as votes=10")
        at_least(self, 1, "points")
        at_most(self, most_points(), "points")


@dataclass
class ClassificationRun(PointCloudRun):
    """A classifier; epochs are selected by accuracy."""

    task: Literal["cls"] = "cls"  # type: ignore[assignment]
    augmentation: str = "mn40_st"
    train: ClassificationTraining = field(default_factory=ClassificationTraining)


@dataclass
class PartSegmentationRun(PointCloudRun):
    """A part segmenter; epochs are selected by instance mIoU.

    Attributes:
        evaluate_on: ``all`` labels every point of a test cloud, by the network's own interpolation from its centres;
            ``sample`` only the fixed sample of ``points`` that it sees.
    """

    task: Literal["partseg"] = "partseg"  # type: ignore[assignment]
    points: int = 512
    augmentation: str = "partseg_st"
    train: PartSegmentationTraining = field(default_factory=PartSegmentationTraining)
    evaluate_on: Literal["all", "sample"] = "all"

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        super().__post_init__()
        if self.votes and self.evaluate_on == "sample":
            raise PccloraError("votes average the logits of a point, and each vote samples others; use evaluate_on=all")


@dataclass
class ImageTraining(ClassificationTraining):
    """Training of an image classifier."""

    epochs: int = 10
    lr: float = 1e-2
    warmup_epochs: float = 1.0


@dataclass
class ImageRun(AdaptationRun):
    """An image classifier; epochs are selected by accuracy.

    Attributes:
        normalization: Mean and standard deviation of the model's input: ``model`` takes those that its weights were
            trained with, ``half`` 0.5 and 0.5, ``imagenet`` the statistics of ImageNet.
    """

    task: Literal["image"] = "image"  # type: ignore[assignment]
    model: Any = component(MODELS, "vit_mini")
    data: DataConfig = component(DATASETS, "digits")
    train: ImageTraining = field(default_factory=ImageTraining)
    normalization: Literal["model", "half", "imagenet"] = "model"


@dataclass
class PretrainRun:
    """Masked autoencoding of point clouds (Point-MAE, arXiv 2203.06604) or images (MAE, arXiv 2111.06377).

    Attributes:
        task: ``pretrain``.
        seed: Of initial weights, order, augmentation and masks.
        model: The backbone, with the decoder that pre-training needs.
        checkpoint: Weights to start from: ``none`` (random) or a file.
        data: The data set; its labels are not used.
        points: Points of a cloud that the model sees; of no use for images.
        augmentation: Preset of the training clouds or images.
        train: The fit.
    """

    task: Literal["pretrain"] = "pretrain"
    seed: int = 0
    model: Any = component(MODELS, "point_mae_tiny")
    checkpoint: str = "none"
    data: DataConfig = component(DATASETS, "procedural")
    points: int = 1024
    augmentation: str = "mn40_st"
    train: PretrainTraining = field(default_factory=PretrainTraining)

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        at_least(self, 0, "seed")
        at_least(self, 1, "points")
        check_checkpoint(self.checkpoint)
        at_most(self, most_points(), "points")
        if self.data.features:
            raise PccloraError("data.features: pre-training knows places alone; what is beside them is learnt later")


def data_name(data: DataConfig) -> str:
    """Return what a run's data are called in tables: the data set, its task if it has several, ``tuning`` if it is so.

    Args:
        data: A data set's config.
    """
    words = [DATASETS.name_of(data), data.task]
    return "/".join(filter(None, words)) + (" (tuning)" if data.tuning else "")


def check_checkpoint(name: str) -> None:
    """Refuse words that may mean random weights and are none that a checkpoint can be.

    Raises:
        PccloraError: Naming the word that means it.
    """
    if name.lower() in RANDOM_WEIGHTS:
        raise PccloraError(f"checkpoint is '{name}'; write checkpoint=none for random weights, ./{name} for a file")
