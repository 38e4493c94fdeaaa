"""How much a file may make us hold in memory: what it declares is compared with what it is before anything is taken.

A file of a few kilobytes can declare terabytes: by a count in a header, by a compression of zeros, by chunks that were
never written. Every reader asks here first. Who means it raises a limit by the environment variable that the message
names.
"""

import os
import zipfile
from pathlib import Path

from pcclora.errors import PccloraError

MIB = 2**20
LARGEST_RATIO = 100
"""Times that the content of a compressed file may be larger than what is stored of it."""
HARMLESS = 64 * MIB
"""Bytes that a file may unfold to whatever its size: labels that are all equal compress without end."""


MOST_PARAMETERS = 4_000_000_000
"""Numbers that an adapter may have; 16 GB."""


def most_points() -> int:
    """Return the number of points that one file may hold: 20 million, or ``PCCLORA_MAX_POINTS``."""
    return _from_environment("PCCLORA_MAX_POINTS", 20_000_000)


def most_pixels() -> int:
    """Return the number of pixels that one image may have: 100 million, or ``PCCLORA_MAX_PIXELS``."""
    return _from_environment("PCCLORA_MAX_PIXELS", 100_000_000)


def check_points(count: int, place: object) -> None:
    """Refuse a file that declares more points, vertices or faces than one file may hold.

    Args:
        count: What its header says.
        place: The file, for the message.

    Raises:
        PccloraError: Naming both numbers and how to raise the limit.
    """
    if count > most_points():
        raise PccloraError(
            f"{place}: declares {count:,} points; more than {most_points():,} are not read at once: thin it out, or "
            "set PCCLORA_MAX_POINTS where it is meant so"
        )


def check_pixels(width: int, height: int, place: object) -> None:
    """Refuse an image of more pixels than one may have.

    Raises:
        PccloraError: Naming both numbers and how to raise the limit.
    """
    if width * height > most_pixels():
        raise PccloraError(
            f"{place}: {width:,} x {height:,} pixels; more than {most_pixels():,} are not decoded: make it smaller, or "
            "set PCCLORA_MAX_PIXELS where it is meant so"
        )


def check_parameters(count: int, place: object) -> None:
    """Refuse an adapter whose settings ask for more parameters than one may have, before it is made.

    Args:
        count: How many.
        place: Which settings, for the message.

    Raises:
        PccloraError: Naming both numbers.
    """
    if count > MOST_PARAMETERS:
        raise PccloraError(f"{place}: {count:.1e} parameters; at most {MOST_PARAMETERS:.0e} are made")


def check_unfolding(declared: int, stored: int, place: object) -> None:
    """Refuse content that is far larger than what is stored of it: it was made to fill the memory.

    Args:
        declared: Bytes that it would take.
        stored: Bytes that are there.
        place: The file, and which part of it.

    Raises:
        PccloraError: Naming both.
    """
    if declared > max(HARMLESS, LARGEST_RATIO * stored):
        raise PccloraError(
            f"{place}: declares {declared:,} bytes, of which {stored:,} are stored: no data are like that; it is "
            "damaged or made to fill the memory, get it from another source"
        )


def check_archive(path: Path) -> None:
    """Refuse a zip archive (npz, pth) whose members unfold to far more than it holds; what is no archive passes.

    Raises:
        PccloraError: As :func:`check_unfolding`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # its reader says what is wrong with it
    check_unfolding(sum(m.file_size for m in members), path.stat().st_size, path)


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise PccloraError(f"{name} is '{text}'; a whole number above 0 is needed")
    return int(text)


def is_web_page(head: bytes) -> bool:
    """Return whether a file that begins so is a page of the web, as of a download that was refused."""
    return head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))


def is_lfs_pointer(head: bytes) -> bool:
    """Return whether a file that begins so only says where Git LFS has the file itself."""
    return head.lstrip().startswith(b"version https://git-lfs")
