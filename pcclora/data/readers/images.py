"""Reads an image file of any common kind as RGB bytes; what cannot be that is one error that names the file."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

from pcclora.data.base import ByteArray
from pcclora.data.readers.files import unreadable
from pcclora.errors import PccloraError
from pcclora.limits import check_pixels
from pcclora.paths import check_regular

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
"""The decoders of Pillow that may open a file. It goes by content, and starts a program for PostScript."""
DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras give, in whatever container."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_told: set[int] = set()  # depths that were warned of


def read_image(path: str | Path, *, upright: bool = True, place: str = "") -> ByteArray:
    """Read the (first) image of a file.

    Grey, palette, CMYK and other colour spaces are converted, and transparency is left out, as torchvision's loader
    does. Of 16 bits the upper 8 are kept; a grey image of 16 bits whose values all fit in 8, 10, 12 or 14, as cameras
    and X-ray machines write them, is taken to have so many, with a warning. Numbers without a range (32-bit integers,
    floats) are refused.

    Args:
        path: The file.
        upright: Turn the image as its camera says (EXIF). Benchmarks are read without, as in the literature.
        place: Where the file is named, as a list and its line; it is put before the message.

    Returns:
        Pixels (H, W, 3), RGB.

    Raises:
        PccloraError: If there is no such file, it is damaged, cut or no JPEG, PNG, BMP, WebP, TIFF, GIF or PPM, has
            more pixels than ``PCCLORA_MAX_PIXELS`` (100 million), or its numbers have no range.
    """
    file = Path(path)
    try:
        check_regular(file)
        with _without_pillows_limit(), Image.open(file, formats=FORMATS) as image:
            _check_size(image, file)
            stored = str(image.tile)  # until it is loaded, the layout that the decoder will meet
            image.load()
            return _rgb(_turned(image) if upright else image, file, sixteen=";16" in stored)
    except PccloraError as error:
        raise _placed(error, place) from error
    except UnidentifiedImageError as error:
        raise _placed(unreadable(file, f"not one of {', '.join(FORMATS)}"), place) from error
    except Exception as error:  # Pillow's readers raise errors of many kinds on damaged bytes
        raise _placed(unreadable(file, error), place) from error


def _check_size(image: Image.Image, file: Path) -> None:
    check_pixels(*image.size, file)
    tags = getattr(image, "tag_v2", {})  # a TIFF's tiles are decoded whole, however small the image is
    check_pixels(tags.get(322, 1), tags.get(323, 1), file)


def _turned(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(Base.Orientation, 1))
    except Exception:  # nonsense in the block says nothing against the pixels
        return image
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image, path: Path, *, sixteen: bool) -> ByteArray:
    if image.mode.startswith("I;16"):
        return _grey(_eight_bits(np.asarray(image), path))
    if image.mode == "I" and image.format == "PPM":  # Pillow brings its values from the declared range to 16 bits
        values = np.asarray(image)
        return _grey(
            _eight_bits(values, path) if sixteen else values >> 8
        )  # a declared range below 16 bits is believed
    if image.mode in ("I", "F"):
        raise PccloraError(f"{path}: 32-bit numbers without a range, not colours; save it with 8 or 16 bits a channel")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    pixels = np.asarray(image.convert("RGB"))
    if sixteen and 0 < pixels.max() < 2**6:  # Pillow has left out the lower 8 bits
        depth = next(depth for depth in DEPTHS if pixels.max() < 2 ** (depth - 8))
        _tell_once(
            0,
            f"{path}: 16-bit colours in the lowest {depth} bits are read {2 ** (16 - depth)} times too dark, if they "
            "are not meant so; save them with 8 bits",
        )
    return pixels


def _grey(values: np.ndarray) -> ByteArray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def _eight_bits(values: np.ndarray, path: Path) -> np.ndarray:
    """Bring whole numbers of up to 16 bits to 8, by the range of the fewest bits that hold them."""
    depth = next(depth for depth in DEPTHS if values.max() < 2**depth) if values.any() else 8
    if depth < 16 and values.any():
        _tell_once(
            depth,
            f"{path}: a 16-bit image without a value above {2**depth - 1:,}: such images are taken for {depth}-bit "
            "ones and shown over that range; save them with 8 bits where it is not meant so",
        )
    return values >> (depth - 8)


def _tell_once(kind: int, message: str) -> None:
    if kind not in _told:
        _told.add(kind)
        warnings.warn(f"{message} (said once)", stacklevel=2)


_lock, _readers, _pillows_limit = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Leave the number of pixels to :mod:`pcclora.limits`: Pillow has one limit for the whole process."""
    global _readers, _pillows_limit
    with _lock:
        if not _readers:
            _pillows_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                Image.MAX_IMAGE_PIXELS = _pillows_limit


def _placed(error: PccloraError, place: str) -> PccloraError:
    return PccloraError(f"{place}: {error}") if place else error
