"""Import Open3D, or say in one line what it lacks."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

from pcclora.errors import PccloraError
from pcclora.extras import pip_line

APT_LINE = "sudo apt-get install -y libusb-1.0-0 libegl1 libgl1"


def import_open3d() -> Any:
    """Return the module ``open3d``.

    Raises:
        PccloraError: If it is not installed, or a system library that it needs is not; with the line that installs it.
    """
    try:
        return importlib.import_module("open3d")
    except ModuleNotFoundError as error:
        raise PccloraError(f"Open3D cannot be imported ({error}); install it: {pip_line('vis')}") from error
    except (ImportError, OSError) as error:  # a shared library of the system is not there
        raise PccloraError(f"Open3D lacks a system library ({error}); install it: {APT_LINE}") from error


def require_display() -> None:
    """Refuse to open a window where there is nothing to open it on.

    Raises:
        PccloraError: On a Linux machine without a display, naming what needs none.
    """
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise PccloraError(
            "no display to open a window on (DISPLAY and WAYLAND_DISPLAY are not set); write a picture or a page "
            "instead: --png FILE, --html FILE"
        )


@contextmanager
def quiet() -> Iterator[StringIO]:
    """Keep Open3D and what lies under it from writing to the terminal; the words are given to the caller."""
    unset = "XDG_RUNTIME_DIR" not in os.environ
    if unset:
        os.environ["XDG_RUNTIME_DIR"] = "/nonexistent"  # libwayland complains when it is not set
    log = StringIO()
    try:
        with redirect_stdout(log):
            yield log
    finally:
        if unset:
            del os.environ["XDG_RUNTIME_DIR"]
