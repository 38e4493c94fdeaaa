"""How an image of any size becomes the (S, S) that a model takes: Pillow's filters, protocols by name.

What an image becomes is a pure function of (seed, epoch, index), as for clouds. Resizing and centre crop agree with
torchvision's transforms on Pillow images, and with timm's evaluation transform, to the byte.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import floor

import numpy as np
from PIL import Image

from pcclora.data.base import ByteArray
from pcclora.data.transforms import Draw
from pcclora.errors import PccloraError, did_you_mean

INTERPOLATIONS = {name.lower(): Image.Resampling[name] for name in ("BICUBIC", "BILINEAR", "NEAREST")}


@dataclass(frozen=True)
class Frame:
    """What a model wants to see.

    Attributes:
        size: Side S of the result, in pixels.
        interpolation: A name of :data:`INTERPOLATIONS`.
        crop: Share of the shorter side that a crop keeps, as 0.875: 224 of 256 pixels.
    """

    size: int
    interpolation: str = "bicubic"
    crop: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise PccloraError(f"image size is {self.size}; at least 1 pixel is needed")
        if not 0 < self.crop <= 1:
            raise PccloraError(f"crop is {self.crop}; a share above 0 and up to 1 is needed, as 0.875")
        if self.interpolation not in INTERPOLATIONS:
            known = did_you_mean(self.interpolation, INTERPOLATIONS)
            raise PccloraError(f"unknown interpolation '{self.interpolation}'{known}")

    def resize(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """Return an image of that many pixels."""
        if image.size == (width, height):
            return image
        return image.resize((width, height), INTERPOLATIONS[self.interpolation])


Fit = Callable[[Image.Image, Frame, Draw], Image.Image]
"""An RGB image in, one of (S, S) out."""


@dataclass(frozen=True)
class ImagePreset:
    """One protocol.

    Attributes:
        train: How a training image is fitted.
        test: How a test image is; nothing random.
        source: Where the protocol comes from.
        random_fit: Whether ``train`` draws; if not, its result can be kept.
        flip: Mirror half of the training images.
        crop: Share of the shorter side, whatever the model's own is; None: the model's own.
    """

    train: Fit
    test: Fit
    source: str
    random_fit: bool = False
    flip: bool = False
    crop: float | None = None


def find_image_preset(name: str) -> ImagePreset:
    """Return the preset of that name.

    Raises:
        PccloraError: If it is unknown; the message has the nearest name.
    """
    if name not in IMAGE_PRESETS:
        raise PccloraError(f"unknown augmentation of images '{name}'{did_you_mean(name, IMAGE_PRESETS)}")
    return IMAGE_PRESETS[name]


def whole(image: Image.Image, frame: Frame, draw: Draw) -> Image.Image:
    """Squeeze the whole image into the square."""
    return frame.resize(image, frame.size, frame.size)


def centre_crop(image: Image.Image, frame: Frame, draw: Draw) -> Image.Image:
    """Scale the shorter side to S / crop, and keep the square in the middle."""
    image = _scale_shorter_side(image, frame)
    left, top = (round((side - frame.size) / 2) for side in image.size)  # rounds half to even, as torchvision
    return image.crop((left, top, left + frame.size, top + frame.size))


def random_crop(image: Image.Image, frame: Frame, draw: Draw) -> Image.Image:
    """Scale the shorter side to S / crop, and keep a square at a random place."""
    image = _scale_shorter_side(image, frame)
    left, top = (int(share * (side - frame.size + 1)) for share, side in zip(draw(2), image.size, strict=True))
    return image.crop((left, top, left + frame.size, top + frame.size))


def random_resized_crop(image: Image.Image, frame: Frame, draw: Draw) -> Image.Image:
    """Keep a rectangle of 8 to 100 % of the area and an aspect of 3:4 to 4:3, and squeeze it into the square.

    Ten rectangles are drawn and the first that lies within the image is taken; where none does, the largest in the
    middle of an allowed aspect. Szegedy et al. 2015, with torchvision's numbers.
    """
    left, top, width, height = _draw_rectangle(image.width, image.height, draw)
    return frame.resize(image.crop((left, top, left + width, top + height)), frame.size, frame.size)


def _draw_rectangle(width: int, height: int, draw: Draw) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a rectangle within an image."""
    low, high = 3 / 4, 4 / 3
    for area, aspect, x, y in draw(40).reshape(10, 4):
        pixels = width * height * (0.08 + 0.92 * area)
        ratio = np.exp(np.log(low) + (np.log(high) - np.log(low)) * aspect)
        w, h = round(np.sqrt(pixels * ratio)), round(np.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(x * (width - w + 1)), int(y * (height - h + 1)), w, h
    w, h = min(width, round(height * high)), min(height, round(width / low))
    return (width - w) // 2, (height - h) // 2, w, h


def _scale_shorter_side(image: Image.Image, frame: Frame) -> Image.Image:
    side, (width, height) = floor(frame.size / frame.crop), image.size
    if width <= height:
        return frame.resize(image, side, int(side * height / width))
    return frame.resize(image, int(side * width / height), side)


def mirror(pixels: ByteArray) -> ByteArray:
    """Return (S, S, 3) with left and right exchanged."""
    return pixels[:, ::-1]


IMAGE_PRESETS: dict[str, ImagePreset] = {
    "none": ImagePreset(whole, whole, "VTAB-1K: the whole image resized to S x S, nothing random"),
    "crop": ImagePreset(centre_crop, centre_crop, "evaluation of ImageNet models: shorter side to S / crop, centre"),
    "flip": ImagePreset(whole, whole, "as none; half of the training images mirrored", flip=True),
    "fgvc": ImagePreset(
        random_crop, centre_crop, "FGVC as in the code of VPT: 224 of 256 at a random place, mirrored; test: centre",
        random_fit=True, flip=True, crop=0.875,
    ),
    "random_resized_crop": ImagePreset(
        random_resized_crop, centre_crop, "ImageNet training: 8 to 100 % of the area, mirrored; test: as crop",
        random_fit=True, flip=True,
    ),
}  # fmt: skip
