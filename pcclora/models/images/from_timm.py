"""The one door to timm (PyTorch Image Models, R. Wightman): its import, its names, what it says of an architecture.

timm and the torchvision that it needs are the extra ``image``; nothing else of the package imports them, and this only
when a function here is called.
"""

import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.extras import pip_line
from pcclora.text import first_line

# timm's modules whose attention calls its linear maps, all architectures of them, as docs/checkpoints.md measures
FAMILIES = (
    *("vision_transformer", "vision_transformer_hybrid", "vision_transformer_relpos", "deit", "cait", "coat", "convit"),
    *("davit", "hiera", "mvitv2", "naflexvit", "nest", "swin_transformer", "swin_transformer_v2_cr", "tiny_vit"),
    *("vitamin", "xcit"),
)
FUSED = ["*_xp_*", "vit_pwee_*", "vit_dpwee_*"]  # but for these, whose attention and MLP are one map


def import_timm() -> ModuleType:
    """Return timm.

    Raises:
        PccloraError: If it, or the torchvision it needs, is not installed or is of another torch.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise PccloraError(
            f"models of images need timm, and {error.name} is not installed: {pip_line('image')}"
        ) from error
    except (ImportError, RuntimeError, OSError) as error:
        raise PccloraError(
            f"timm cannot be imported ({first_line(error, kind=False)}): torch and torchvision do not belong together; "
            "install a pair of one release from PyTorch's own builds, both for the CPU or both for CUDA"
        ) from error
    return timm


def timm_cfg(architecture: str) -> Any:
    """Return timm's ``PretrainedCfg`` of an architecture: input size, mean, std, interpolation, where weights are.

    Args:
        architecture: timm's name, with or without the tag of its weights: ``vit_base_patch16_224.augreg_in21k``.

    Raises:
        PccloraError: If there is no such architecture or tag; the message has the nearest.
    """
    timm = import_timm()
    name, _, tag = architecture.partition(".")
    if not timm.is_model(name):
        raise PccloraError(f"unknown timm architecture '{architecture}'{_nearest(name, timm.list_models())}")
    tags = timm.list_pretrained(f"{name}.*")
    if tag and architecture not in tags:
        raise PccloraError(f"timm's '{name}' has no weights '{tag}'; it has {', '.join(tags) or 'none'}")
    return timm.get_pretrained_cfg(architecture)


def timm_filter(model: nn.Module) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]:
    """Return what timm does to a state dict of this model's family before it loads it."""
    made = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if made is None:
        return lambda weights, model: weights
    renames = "adapt_layer_scale" in signature(made).parameters  # a ViT may have DeiT-III's file
    return partial(made, adapt_layer_scale=True) if renames else made


def pretrained_file(architecture: str) -> Path:
    """Return the file of timm's own weights, from the hub or from its cache on this machine.

    Raises:
        PccloraError: If there are none, or the hub cannot be reached.
    """
    cfg = timm_cfg(architecture)
    if not cfg.hf_hub_id:
        raise PccloraError(f"timm has no weights of '{architecture}' on its hub; give checkpoint=FILE")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = cfg.hf_hub_id.partition("@")
    for file in ("model.safetensors", "pytorch_model.bin"):
        try:
            return Path(hf_hub_download(repository, file, revision=revision or None))
        except Exception as error:  # of the hub, of its network library, of the disk
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            raise PccloraError(
                f"the weights of '{architecture}' cannot be fetched ({first_line(error)}); fetch {file} of the "
                f"repository {repository} of the Hugging Face hub where there is a network, and give checkpoint=FILE"
            ) from error
    raise PccloraError(
        f"the repository {repository} of '{architecture}' has no weights that are read; give checkpoint=FILE"
    )


def timm_architectures() -> list[str]:
    """Return the names of the architectures that timm has in the families of :data:`FAMILIES`."""
    timm = import_timm()
    return [name for family in FAMILIES for name in timm.list_models(module=family, exclude_filters=FUSED)]


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else "; list_models('timm/*') has the names"
