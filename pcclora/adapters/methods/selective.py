"""Methods that add nothing and train a part of the model: its head, its biases, all of it.

``linear``: linear probing, what ``modules_to_save`` names (the head) and nothing else. ``bitfit``: Ben Zaken et al.,
BitFit (arXiv 2106.10199), also every bias that exists. ``full``: fine-tuning, also everything else, BatchNorm
statistics included.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pcclora.adapters.base import About, Adapter, AdapterConfig, buffer_names, parameter_names
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class LinearConfig(AdapterConfig):
    """Settings of linear probing: none of its own."""

    about: ClassVar[About | None] = About("the head alone", "linear probing")


@dataclass
class BitFitConfig(AdapterConfig):
    """Settings of BitFit: none of its own."""

    about: ClassVar[About | None] = About("every bias that exists", "BitFit (2106.10199)")


@dataclass
class FullConfig(AdapterConfig):
    """Settings of full fine-tuning: none of its own."""

    about: ClassVar[About | None] = About("every number of the model", "fine-tuning")


class Selective(Adapter):
    """Parts of the model, trained as they are."""

    sums = True


@ADAPTERS.register("linear", config=LinearConfig)
def linear(config: LinearConfig, model: nn.Module) -> Adapter:
    """Train what ``modules_to_save`` names.

    Raises:
        PccloraError: If it names nothing.
    """
    adapter = Selective(config, model)
    if not adapter.trained_parameters:
        raise PccloraError(
            f"{type(model).__name__} declares no modules_to_save: name the head in modules_to_save yourself"
        )
    return adapter


@ADAPTERS.register("bitfit", config=BitFitConfig)
def bitfit(config: BitFitConfig, model: nn.Module) -> Adapter:
    """Train every existing bias (``bias`` in its own name, as in peft), and what ``modules_to_save`` names."""
    biases = [name for name in parameter_names(model) if "bias" in name.rpartition(".")[2]]
    if not biases:
        raise PccloraError(f"{type(model).__name__} has no bias for BitFit to train")
    return Selective(config, model, also_trained=biases)


@ADAPTERS.register("full", config=FullConfig)
def full(config: FullConfig, model: nn.Module) -> Adapter:
    """Train everything."""
    return Selective(config, model, also_trained=parameter_names(model), also_moved=buffer_names(model))
