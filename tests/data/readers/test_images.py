import os
import re
import stat
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pcclora.data import read_image
from pcclora.data.readers import images as image_files
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
    with pytest.raises(PccloraError, match="a folder, a device or a pipe"):
        read_image(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PccloraError, match=r"a\.png: a folder, a device or a pipe"):
        read_image(tmp_path / "a.png")


def test_a_file_that_is_a_program_is_not_run(tmp_path, monkeypatch):
    started = tmp_path / "started"
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {started}\n")
    ghostscript.chmod(ghostscript.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for start in ("%!PS-Adobe-3.0 EPSF-3.0\n", "%!PS-Adobe-3.0\n"):
        (tmp_path / "a.png").write_text(f"{start}%%BoundingBox: 0 0 9 9\n%%EndComments\n1 0 0 setrgbcolor showpage\n")
        with pytest.raises(PccloraError, match=r"a\.png: damaged or of another format.*not one of JPEG, PNG"):
            read_image(tmp_path / "a.png")
    assert not started.exists()


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("1", (12_000, 9_000)).save(path)
    assert path.stat().st_size < 100_000
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PccloraError, match="12,000 x 9,000 pixels; more than 100,000,000 .*PCCLORA_MAX_PIXELS"):
        read_image(path)
    monkeypatch.setenv("PCCLORA_MAX_PIXELS", "2000")
    Image.new("RGB", (50, 40)).save(path)
    assert read_image(path).shape == (40, 50, 3)
    Image.new("RGB", (50, 41)).save(path)
    with pytest.raises(PccloraError, match="50 x 41 pixels"):
        read_image(path)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_larger_image_than_pillow_takes_is_read_where_it_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (50, 40), (1, 2, 3)).save(tmp_path / "a.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (read_image(tmp_path / "a.tif") == (1, 2, 3)).all()
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_sixteen_bits_that_hold_fewer_are_shown_over_their_range(tmp_path, monkeypatch, depth, suffix):
    monkeypatch.setattr(image_files, "_told", set())
    values = np.random.default_rng(depth).integers(0, 2**depth, (6, 8)).astype(np.uint16)
    values[2, 3] = 2**depth - 1
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read = [read_image(tmp_path / f"a{suffix}") for _ in "ab"]
    for pixels in read:
        np.testing.assert_array_equal(pixels, np.repeat((values / 2 ** (depth - 8)).astype(np.uint8)[..., None], 3, 2))
    assert len(said) == (depth < 16) and all(f"taken for {depth}-bit ones" in str(each.message) for each in said)


def test_twelve_bits_in_a_pgm_of_sixteen_are_not_black(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_told", set())
    values = np.array([[0, 2000, 4000]])
    (tmp_path / "a.pgm").write_bytes(b"P5\n3 1\n65535\n" + values.astype(">u2").tobytes())
    with pytest.warns(UserWarning, match="taken for 12-bit"):
        np.testing.assert_array_equal(read_image(tmp_path / "a.pgm")[0, :, 0], values[0] >> 4)


def test_declared_ranges_of_pgm_are_kept(tmp_path):
    values = np.array([[0, 500, 1000]], ">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5\n3 1\n4000\n" + values.tobytes())
    np.testing.assert_allclose(read_image(tmp_path / "a.pgm")[0, :, 0], values[0] / 4000 * 255, atol=1)


@pytest.mark.parametrize(("value", "depth"), [(1000, 10), (4000, 12), (16000, 14), (17000, 0)])
def test_dark_16_bit_colours_are_told_of(tmp_path, monkeypatch, value, depth):
    monkeypatch.setattr(image_files, "_told", set())

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + np.full((2, 3), value, ">u2").tobytes()
    head = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert (read_image(tmp_path / "a.png") == value >> 8).all()
    told = [f"lowest {depth} bits are read {2 ** (16 - depth)} times too dark" in str(each.message) for each in said]
    assert told == ([True] if depth else [])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=60))
def test_a_nonsense_exif_block_says_nothing_against_the_pixels(tmp_path, block):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=block)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("orientation", range(10))
def test_images_are_turned_as_pillow_turns_them(tmp_path, orientation):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as stored:
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(ImageOps.exif_transpose(stored)))
