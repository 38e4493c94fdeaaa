"""Reads an image file of any common kind as RGB bytes; what cannot be that is one error that names the file."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pcclora.data.base import ByteArray
from pcclora.data.files import unreadable
from pcclora.errors import PccloraError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


def read_image(path: str | Path, *, upright: bool = True, place: str = "") -> ByteArray:
    """Read the (first) image of a file.

    Grey, palette, CMYK and other colour spaces are converted, 16 bits become 8, and transparency is left out, as
    torchvision's loader does. Numbers without a range (32-bit integers, floats) are refused.

    Args:
        path: The file.
        upright: Turn the image as its camera says (EXIF). Benchmarks are read without, as in the literature.
        place: Where the file is named, as a list and its line; it is put before the message.

    Returns:
        Pixels (H, W, 3), RGB.

    Raises:
        PccloraError: If there is no such file, it is damaged or no image, or its numbers have no range.
    """
    file = Path(path)
    try:
        with Image.open(file) as image:
            image.load()
            return _rgb(ImageOps.exif_transpose(image) if upright else image, file)
    except PccloraError as error:
        raise _placed(error, place) from error
    except Exception as error:  # Pillow's readers raise errors of many kinds on damaged bytes
        raise _placed(unreadable(file, error), place) from error


def _rgb(image: Image.Image, path: Path) -> ByteArray:
    if image.mode in ("I", "F"):
        raise PccloraError(f"{path}: 32-bit numbers without a range, not colours; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I;16"):
        grey = np.asarray(image) >> 8
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    return np.asarray(image.convert("RGB"))


def _placed(error: PccloraError, place: str) -> PccloraError:
    return PccloraError(f"{place}: {error}") if place else error
