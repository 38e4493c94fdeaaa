"""What a file declares is compared with what it is."""

import zipfile

import pytest

from pcclora import limits
from pcclora.errors import PccloraError


def test_a_count_beyond_the_limit_names_the_way_out(monkeypatch):
    limits.check_points(20_000_000, "a.ply")
    with pytest.raises(PccloraError, match=r"a.ply: declares 20,000,001 points.*PCCLORA_MAX_POINTS"):
        limits.check_points(20_000_001, "a.ply")
    monkeypatch.setenv("PCCLORA_MAX_POINTS", "20000001")
    limits.check_points(20_000_001, "a.ply")
    monkeypatch.setenv("PCCLORA_MAX_POINTS", "many")
    with pytest.raises(PccloraError, match="PCCLORA_MAX_POINTS is 'many'"):
        limits.check_points(1, "a.ply")


def test_pixels():
    limits.check_pixels(10_000, 10_000, "a.png")
    with pytest.raises(PccloraError, match=r"10,001 x 10,000 pixels.*PCCLORA_MAX_PIXELS"):
        limits.check_pixels(10_001, 10_000, "a.png")


def test_an_archive_of_zeros_is_refused_before_it_is_unfolded(tmp_path):
    for name, size in (("small", 2**20), ("bomb", 2**27)):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros.npy", bytes(size))
    limits.check_archive(tmp_path / "small")
    with pytest.raises(PccloraError, match=r"bomb: declares 134,217,728 bytes"):
        limits.check_archive(tmp_path / "bomb")
    (tmp_path / "none").write_bytes(b"PK\x03\x04")
    limits.check_archive(tmp_path / "none")
