"""What tells the content of one sample from another's: a hash of a file's bytes or of numbers, as hexadecimal text."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.errors import PccloraError
from pcclora.paths import check_regular, file_sha256

DIGITS = 32
"""Hexadecimal digits that are kept of a sha256: 128 bits are far more than chance can match."""


def digest_of_file(path: Path) -> str:
    """Return the digest of a file's bytes.

    Raises:
        PccloraError: If it cannot be read.
    """
    check_regular(path)
    try:
        return file_sha256(path)[:DIGITS]
    except OSError as error:
        raise PccloraError(f"{path}: cannot be read: {error.strerror or error}") from error


def digest_of_arrays(*arrays: NDArray[Any]) -> str:
    """Return the digest of arrays: their types, shapes and numbers."""
    sha = hashlib.sha256()
    for array in arrays:
        plain = np.ascontiguousarray(array)
        sha.update(f"{plain.dtype.str}{plain.shape}".encode())
        sha.update(plain.data)
    return sha.hexdigest()[:DIGITS]


def digest_of_text(text: str) -> str:
    """Return the digest of a text: of a recipe that a sample is made by, where no file holds it."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
