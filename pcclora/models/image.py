"""Vision transformers of timm as backbones: ``timm/<architecture>``, and ``vit_mini``, small enough for a CPU.

Dosovitskiy et al., ViT (arXiv 2010.11929); Touvron et al., DeiT (arXiv 2012.12877); Oquab et al., DINOv2 (arXiv
2304.07193). A model is timm's own object: its forward and its parameter names are timm's, so an adapter that is saved
here loads on a bare ``timm.create_model``. It only becomes a :class:`Backbone` beside.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import Backbone
from pcclora.models.factory import build_task
from pcclora.models.image_timm import import_timm, timm_architectures, timm_cfg
from pcclora.registry import MODELS

STATISTICS = {  # mean and standard deviation of a channel; which of the two a ViT wants is left unsaid in most papers
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
ATTENTION = (("qkv",), ("q", "k", "v"), ("q_proj", "k_proj", "v_proj"), ("query", "key", "value"))


@dataclass
class TimmConfig:
    """A vision transformer of timm.

    Args:
        architecture: timm's name, with or without a tag of weights: ``vit_base_patch16_224.augreg_in21k``.
        img_size: Side of the square images, in pixels; None, here and below: as timm has it.
        patch_size: Side of a patch, in pixels.
        embed_dim: Width C of a token.
        depth: Number of blocks.
        num_heads: Attention heads; divides ``embed_dim``.
        drop_rate: Dropout of the head.
        drop_path_rate: Stochastic depth of the last block.
    """

    architecture: str
    img_size: int | None = None
    patch_size: int | None = None
    embed_dim: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    drop_rate: float | None = None
    drop_path_rate: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        _check(self)


@dataclass
class VitMiniConfig:
    """A ViT small enough to train on a CPU in minutes.

    Args:
        img_size: Side of the square images, in pixels.
        patch_size: Side of a patch, in pixels.
        embed_dim: Width C of a token.
        depth: Number of blocks.
        num_heads: Attention heads; divides ``embed_dim``.
        drop_rate: Dropout of the head.
        drop_path_rate: Stochastic depth of the last block.
    """

    img_size: int = 32
    patch_size: int = 4
    embed_dim: int = 128
    depth: int = 6
    num_heads: int = 4
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        _check(self)


@dataclass(frozen=True)
class ImageInput:
    """What a model expects of an image.

    Attributes:
        size: Side of the square image, in pixels.
        mean: Of each channel, of values in [0, 1].
        std: Standard deviation of each channel.
        interpolation: Of resizing.
        crop: Share of the shorter side that the central crop of a test image keeps.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear", "nearest"]
    crop: float


def image_input(config: object, *, normalization: str = "model") -> ImageInput:
    """Return what a model expects of an image, without building it.

    Args:
        config: Its config: :class:`TimmConfig` or :class:`VitMiniConfig`.
        normalization: ``model``: mean and std as its weights were trained with, by timm; ``half``: 0.5 and 0.5;
            ``imagenet``: the statistics of ImageNet.

    Raises:
        PccloraError: If it is no model of images, or unknown to timm, or ``normalization`` is none of the three.
    """
    if isinstance(config, VitMiniConfig):
        expected = ImageInput(config.img_size, *STATISTICS["half"], "bicubic", 1.0)
    elif isinstance(config, TimmConfig):
        cfg = timm_cfg(config.architecture)
        size = config.img_size or _square(cfg.input_size, config)
        expected = ImageInput(size, tuple(cfg.mean), tuple(cfg.std), cfg.interpolation, cfg.crop_pct)
    else:
        raise PccloraError(f"model '{MODELS.name_of(config)}' takes no images")
    if normalization == "model":
        return expected
    if normalization not in STATISTICS:
        raise PccloraError(f"normalization is '{normalization}'; choose model, {' or '.join(STATISTICS)}")
    return ImageInput(expected.size, *STATISTICS[normalization], expected.interpolation, expected.crop)


class ImageBackbone(Backbone):
    """What a timm model has beside its own: images (B, 3, S, S) to logits (B, num_classes), by way of features."""

    holds = "images"
    families: ClassVar[tuple[str, ...]] = ("timm",)
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"tokenizer": ("patch_embed",), "head": ("head", "head_dist")}

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) to what the head reads (B, F): for a distilled DeiT both tokens, F = 2 C."""
        model: Any = self
        tokens = model.forward_features(images)
        if len(self.head_names) == 2:
            return torch.cat([tokens[:, 0], tokens[:, 1]], dim=-1)
        pooled: Tensor = model.forward_head(tokens, pre_logits=True)
        return pooled

    def classify(self, features: Tensor) -> Tensor:
        """Map features (B, F) to logits (B, num_classes); two heads are averaged, as in timm."""
        heads = [self.get_submodule(name) for name in self.head_names]
        pieces = features.chunk(len(heads), dim=-1)
        logits: Tensor = sum(head(piece) for head, piece in zip(heads, pieces, strict=True)) / len(heads)
        return logits


@MODELS.register("timm", config=TimmConfig, variant="architecture", variants=timm_architectures)
def timm_model(
    config: TimmConfig, *, task: str, num_classes: int = 0, num_parts: int = 0, num_categories: int = 0
) -> Backbone:
    """Any vision transformer of timm whose attention has its linear maps as modules; without weights."""
    counts = {"num_classes": num_classes, "num_parts": num_parts, "num_categories": num_categories}
    return build_task({"cls": _build_timm}, config, task=task, **counts)


@MODELS.register("vit_mini", config=VitMiniConfig)
def vit_mini(
    config: VitMiniConfig, *, task: str, num_classes: int = 0, num_parts: int = 0, num_categories: int = 0
) -> Backbone:
    """A ViT for a CPU: timm's class at 32 px, patch 4, width 128, 6 blocks."""
    counts = {"num_classes": num_classes, "num_parts": num_parts, "num_categories": num_categories}
    return build_task({"cls": _build_mini}, config, task=task, **counts)


def _build_timm(config: TimmConfig, *, num_classes: int) -> Backbone:
    timm_cfg(config.architecture)
    options = {key: value for key, value in asdict(config).items() if value is not None and key != "architecture"}
    create = import_timm().create_model
    return _backbone(lambda: create(config.architecture, num_classes=num_classes, **options), config)


def _build_mini(config: VitMiniConfig, *, num_classes: int) -> Backbone:
    vit = import_timm().models.VisionTransformer
    return _backbone(lambda: vit(num_classes=num_classes, **asdict(config)), config)


def _backbone(create: Callable[[], Any], config: object) -> Backbone:
    name = MODELS.name_of(config)
    try:
        model = create()
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise PccloraError(f"model '{name}' cannot be built so: {str(error) or type(error).__name__}") from error
    last = {path.rpartition(".")[2] for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    heads = _heads(model)
    if not any(last.issuperset(names) for names in ATTENTION) or not heads:
        raise PccloraError(
            f"model '{name}' ({type(model).__name__}) is no vision transformer that can be adapted: it lacks attention "
            "with linear maps qkv, or q, k and v, or a linear head; list_models('timm/*') has those that can"
        )
    model.__class__ = _backbone_class(model.__class__)
    model.config, model.head_names, model.modules_to_save = config, heads, heads
    return model  # type: ignore[no-any-return]


def _heads(model: Any) -> tuple[str, ...]:
    """Return the names of a timm model's linear classifiers: one, or of a distilled DeiT two."""
    found = model.get_classifier()
    heads = found if isinstance(found, tuple) else (found,)
    names = tuple(name for name, module in model.named_modules() if any(module is head for head in heads))
    whole = len(names) == len(heads) and all(isinstance(head, nn.Linear) for head in heads)
    return names if whole and (len(heads) == 1 or hasattr(model, "dist_token")) else ()


@cache
def _backbone_class(kind: type[nn.Module]) -> type[Backbone]:
    return type(kind.__name__, (ImageBackbone, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})


def _square(size: tuple[int, int, int], config: TimmConfig) -> int:
    if size[1] != size[2]:
        raise PccloraError(f"'{config.architecture}' is for images of {size[1]} x {size[2]}; give a side: img_size=224")
    return size[1]


def _check(config: TimmConfig | VitMiniConfig) -> None:
    values = {key: value for key, value in asdict(config).items() if isinstance(value, int | float)}
    rates = ("drop_rate", "drop_path_rate")
    wrong = [
        f"{key} is {value}, 1 or more is expected" for key, value in values.items() if key not in rates and value < 1
    ]
    wrong += [f"{key} is {values[key]}, it lies in [0, 1)" for key in rates if not 0 <= values.get(key, 0) < 1]
    if not wrong and config.embed_dim and config.num_heads and config.embed_dim % config.num_heads:
        wrong.append(f"embed_dim {config.embed_dim} is not divisible by num_heads {config.num_heads}")
    if not wrong and config.img_size and config.patch_size and config.img_size % config.patch_size:
        wrong.append(f"img_size {config.img_size} is not divisible by patch_size {config.patch_size}")
    if wrong:
        raise PccloraError("; ".join(wrong))
