"""Files and folders that appear whole or not at all, whatever moment the power fails."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pcclora.errors import PccloraError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; on leaving, it takes the place of ``path`` in one step.

    The data are on the disk before the name changes, so a crash leaves either the old file or the new one.

    Args:
        path: The file to write or replace.

    Yields:
        A path in the same folder. What an interrupted write left there is overwritten by the next.

    Raises:
        PccloraError: If its folder is not there, or it is a folder itself.
    """
    if not path.parent.is_dir() or path.is_dir():
        raise PccloraError(f"{path}: {'is a folder; name a file in it' if path.is_dir() else 'make its folder first'}")
    temporary = path.with_name(f".{path.name}.partial")
    yield temporary
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)  # safetensors makes files that only their owner can read
    _flush(temporary)
    os.replace(temporary, path)
    _flush(path.parent)


@contextmanager
def creating_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; on leaving, it is renamed to ``path``, which must not hold anything yet.

    Raises:
        PccloraError: If ``path`` is a file or a folder with something in it, now or by the time of the renaming.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            _flush(file)
        refuse_existing(path)
        os.replace(temporary, path)  # an empty folder gives way; anything else makes this fail
    except OSError as error:
        raise PccloraError(f"{path}: cannot be created: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _flush(path.parent)


def refuse_existing(path: Path) -> None:
    """Raise unless ``path`` is free: absent, or an empty folder.

    Raises:
        PccloraError: If something is there. Nothing is ever overwritten.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists():
        remedy = f"go on with it by --resume {path}, or choose" if (path / "config.yaml").exists() else "choose"
        raise PccloraError(f"{path}: is there already and is never overwritten; {remedy} another --output")


def write_text(path: Path, text: str) -> None:
    """Write or replace a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write or replace a JSON file atomically, indented for the reader."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def load_json(path: Path) -> Any:
    """Read a JSON file that holds anything.

    Raises:
        PccloraError: If it is absent, damaged, nested without end, or holds numbers that JSON does not know.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise PccloraError(f"{path}: cannot be read: nested too deeply to be data") from error
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, no JSON, a number of thousands of digits
        raise PccloraError(f"{path}: cannot be read: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        PccloraError: If it is absent, damaged or holds something else.
    """
    values = load_json(path)
    if not isinstance(values, dict):
        raise PccloraError(f"{path}: one JSON object is expected, found {type(values).__name__}")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder; NTFS journals the rename itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
