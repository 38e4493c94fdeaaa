"""The settings of vision transformers of timm, and what each expects of an image.

Which mean and standard deviation the pixels are normalised with belongs to the weights, not to the data: ViTs of AugReg
were trained with 0.5 and 0.5, DeiT and DINOv2 with the statistics of ImageNet.
"""

from dataclasses import asdict, dataclass
from typing import Literal

from pcclora.errors import PccloraError
from pcclora.models.images.from_timm import timm_cfg
from pcclora.models.sizes import oversized
from pcclora.registry import MODELS

STATISTICS = {  # mean and standard deviation of each channel
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


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
    counts = {key: int(value) for key, value in values.items() if key not in rates}
    wrong = wrong or oversized(counts, dim=config.embed_dim or 1, depth=config.depth or 1)
    if not wrong and config.embed_dim and config.num_heads and config.embed_dim % config.num_heads:
        wrong.append(f"embed_dim {config.embed_dim} is not divisible by num_heads {config.num_heads}")
    if not wrong and config.img_size and config.patch_size and config.img_size % config.patch_size:
        wrong.append(f"img_size {config.img_size} is not divisible by patch_size {config.patch_size}")
    if wrong:
        raise PccloraError("; ".join(wrong))
