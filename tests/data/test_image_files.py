import re
import warnings

import numpy as np
import pytest
from PIL import Image

from pcclora.data import read_image
from pcclora.errors import PccloraError
from tests.data.image_trees import save

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def written(image, path, **options):
    image.save(path, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_colours_are_read_as_they_were_written(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    read = written(
        Image.fromarray(pixels), tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {})
    )
    np.testing.assert_array_equal(read, pixels)
    assert read.dtype == np.uint8


def test_grey_palette_and_transparent_images_become_rgb(tmp_path):
    expected = np.repeat(GREY[..., None], 3, axis=2)
    for mode in ("L", "LA", "RGBA"):
        np.testing.assert_array_equal(written(Image.fromarray(GREY).convert(mode), tmp_path / f"{mode}.png"), expected)
    np.testing.assert_array_equal(written(Image.fromarray(GREY).convert("P"), tmp_path / "a.gif"), expected)
    np.testing.assert_array_equal(
        written(Image.fromarray(GREY).convert("P"), tmp_path / "p.png", transparency=bytes([0, 255] * 20)), expected
    )
    np.testing.assert_array_equal(written(Image.fromarray(GREY > 100), tmp_path / "1.png"), 255 * (expected > 100))


def test_sixteen_bits_become_eight_and_cmyk_becomes_rgb(tmp_path):
    read = written(Image.fromarray(GREY.astype(np.uint16) * 257), tmp_path / "a.png")
    np.testing.assert_array_equal(read, np.repeat(GREY[..., None], 3, axis=2))
    read = written(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), tmp_path / "a.jpg", quality=100)
    assert read.shape == (4, 4, 3) and (abs(read.astype(int) - (255, 0, 0)) < 6).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_without_a_range_are_refused(tmp_path, dtype):
    path = tmp_path / "depth.tif"
    Image.fromarray(GREY.astype(dtype)).save(path)
    with pytest.raises(PccloraError, match=re.escape(f"{path}: 32-bit numbers without a range")):
        read_image(path)


def test_a_photograph_is_turned_as_its_camera_says_unless_a_benchmark_is_read(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(np.asarray(image), -1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", upright=False), np.asarray(image))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".tif", ".bmp"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_every_kind_of_damage_is_one_error_that_names_the_file(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 1, 10, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(PccloraError, match=re.escape(str(path))):
            read_image(path)
    for _ in range(20):  # garbled bytes may still be an image; then there are pixels, and else the same error
        garbled = bytearray(whole)
        garbled[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(garbled))
        try:
            assert read_image(path).shape[2] == 3
        except PccloraError as error:
            assert str(path) in str(error)


def test_absent_files_web_pages_and_pointers_say_what_they_are(tmp_path):
    path = tmp_path / "a.jpg"
    with pytest.raises(PccloraError, match="list.txt, line 3: .*a.jpg: cannot be opened"):
        read_image(path, place="list.txt, line 3")
    path.write_text("<!DOCTYPE html><p>quota exceeded")
    with pytest.raises(PccloraError, match="this is a web page"):
        read_image(path)
    path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(PccloraError, match="git lfs pull"):
        read_image(path)
    with pytest.raises(PccloraError, match="cannot be opened"):
        read_image(tmp_path)
