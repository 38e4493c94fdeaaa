"""What every backbone declares beside its forward; a new one inherits it and registers in ``MODELS`` (one file)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.checkpoints.keys import HEAD

CLS_TOKENS = ("cls_token", "cls_pos")


CHANNELS = "channels"
"""The sub-module that reads what of a point is beside its place, in models that have one."""


class Backbone(nn.Module):
    """Base of the models that :func:`create_model` makes.

    A :class:`Classifier` maps clouds (B, N, 3) to logits (B, num_classes), a pre-training model maps (clouds, mask) to
    a loss, a part segmenter (:mod:`pcclora.models.points.part_segmentation`) maps (clouds, category) to logits (B, N,
    num_parts).

    Attributes:
        config: The dataclass it was built from.
        channels: Of models that can have one, what reads further numbers of a point, or None.
        holds: What its inputs are: ``point clouds`` or ``images``.
        criterion: Of a pre-training model, what its loss is.
        task: ``cls``, ``partseg`` or ``pretrain``.
        num_classes: Number of classes; 0 where there are none.
        head_names: Sub-modules that are no part of the trunk: another task, or number of classes, has others.
        families: Whose released files it reads.
        fresh_tokens: Which of its tokens a pre-trained file of these families need not have.
        modules_to_save: Sub-modules and parameters that train beside an adapter.
        places: Role -> pattern of the modules that play it, for methods that act around modules;
            ``pcclora.adapters.places`` says what each role promises.
        prefix_tokens: How many tokens come before those of groups or patches.
        parts: For the counting of operations: part -> the sub-modules that make it; all the rest is the ``trunk``.
    """

    config: Any
    channels: Any
    holds: ClassVar[str] = "point clouds"
    criterion: ClassVar[str] = ""
    task: str = "cls"
    num_classes: int = 0
    head_names: tuple[str, ...] = (HEAD,)
    families: ClassVar[tuple[str, ...]] = ()
    fresh_tokens: ClassVar[tuple[str, ...]] = ()
    modules_to_save: tuple[str, ...] = (HEAD, *CLS_TOKENS)
    places: Mapping[str, str] = MappingProxyType({})
    prefix_tokens: int = 0
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"tokenizer": ("encoder", "reduce_dim", CHANNELS), "head": (HEAD,)}

    def add_channels(self, count: int) -> None:
        """Read clouds (B, N, 3 + count): a branch beside the tokeniser starts at zero, and trains with the head.

        Raises:
            PccloraError: If the model has no place for it.
        """
        with torch.random.fork_rng(devices=[]):  # whatever is drawn later is what it were without the branch
            self.channels = self.channel_branch(count)
        self.modules_to_save = (*self.modules_to_save, CHANNELS)

    def channel_branch(self, count: int) -> nn.Module:
        """Return the branch for so many channels.

        Raises:
            PccloraError: If the model has no place for it.
        """
        raise PccloraError(
            f"{type(self).__name__} knows the places of points alone; data.features is for the classifiers and part "
            "segmenters of point_mae, point_bert, act and recon"
        )


class Classifier(Backbone, ABC):
    """A backbone that maps samples to logits (B, num_classes), by way of features."""

    @abstractmethod
    def features(self, samples: Tensor) -> Tensor:
        """Map clouds (B, N, 3), or images (B, 3, S, S), to one feature vector each (B, F): what the head reads."""

    def classify(self, features: Tensor) -> Tensor:
        """Map features (B, F) to logits (B, num_classes)."""
        logits: Tensor = self.get_submodule(self.head_names[0])(features)
        return logits

    def pretrained(self, features: Tensor) -> Tensor:
        """Return what of features (B, F) owes nothing to a class token that pre-training has none of."""
        return features


class TokenClassifier(Classifier):
    """A classifier of clouds whose features are made in two steps; what the first gives can be kept."""

    @abstractmethod
    def tokenize(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Map clouds (B, N, 3) to their groups' tokens (B, G, C) and centres (B, G, 3)."""

    @abstractmethod
    def attend(self, tokens: Tensor, centers: Tensor) -> Tensor:
        """Map what :meth:`tokenize` returns to features (B, F)."""

    def features(self, points: Tensor) -> Tensor:
        """Map clouds (B, N, 3) to what the head reads (B, F)."""
        return self.attend(*self.tokenize(points))
