"""Files and folders that appear whole or not at all, whatever moment the power fails or the disk is full.

Every writer of the package is one of these. What is being written lies beside its place under a name that begins with a
dot and is locked while its process lives, so the next write of the same file or folder tells what a killed one left
from what another process is writing just now, and removes the former.
"""

import errno
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pcclora.errors import PccloraError
from pcclora.paths import exists, is_dir, read_text

try:
    import fcntl
except ImportError:  # Windows: what a killed write left stays there
    fcntl = None  # type: ignore[assignment]

_NO_ROOM, _FORBIDDEN = "make room there, or choose another disk", "choose a folder that you may write to"
_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or choose another disk",
    errno.EROFS: _FORBIDDEN,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "move what is there, or choose another folder",
    errno.ENOTDIR: "move what is there, or choose another folder",
}

_DEEPEST = 100
"""Lists and objects within each other that a JSON file may have."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against a write into one message.

    Args:
        path: What is written, as its reader knows it.

    Raises:
        PccloraError: Naming it, the cause and the remedy.
    """
    try:
        yield
    except OSError as error:
        elsewhere = error.filename is not None and not str(error.filename).startswith(str(path.parent))
        cause = str(error) if elsewhere or not error.strerror else error.strerror
        remedy = _REMEDIES.get(error.errno or 0, "is there room, and may you write there?")
        raise PccloraError(f"{path}: cannot be written: {cause}; {remedy}") from error
    except UnicodeEncodeError as error:
        raise PccloraError(
            f"{path}: cannot be written: {error.object[error.start : error.end]!a} in a name is no character; "
            "rename that file or folder"
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        PccloraError: If it cannot be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; on leaving, it takes the place of ``path`` in one step.

    The data are on the disk before the name changes, so a crash leaves either the old file or the new one.

    Args:
        path: The file to write or replace.

    Yields:
        A path in the same folder, of an empty file.

    Raises:
        PccloraError: If its folder is not there, it is a folder itself, or it cannot be written. The old file stays.
    """
    with writing(path):
        if not is_dir(path.parent) or is_dir(path):
            wrong = "is a folder; name a file in it" if is_dir(path) else "make its folder first"
            raise PccloraError(f"{path}: {wrong}")
        with _reserving(path, lambda temporary: temporary.touch(exist_ok=False)) as temporary:
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
            _flush(path.parent)


@contextmanager
def creating_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; on leaving, it is renamed to ``path``, which must not hold anything yet.

    Raises:
        PccloraError: If ``path`` is a file or a folder with something in it, now or by the time of the renaming; if it
            cannot be written.
    """
    with writing(path):
        refuse_existing(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _reserving(path, Path.mkdir) as temporary:
            try:
                yield temporary
            except PccloraError as error:  # of a file in it: that name means nothing to who reads the message
                raise type(error)(str(error).replace(str(temporary), str(path))) from error
            for file in temporary.iterdir():
                _flush(file)
            refuse_existing(path)
            os.replace(temporary, path)  # an empty folder gives way; anything else makes this fail
            _flush(path.parent)


def refuse_existing(path: Path) -> None:
    """Raise unless ``path`` is free: absent, or an empty folder.

    Raises:
        PccloraError: If something is there. Nothing is ever overwritten.
    """
    if is_dir(path) and not any(path.iterdir()):
        return
    if exists(path):
        remedy = f"go on with it by --resume {path}, or choose" if exists(path / "config.yaml") else "choose"
        raise PccloraError(f"{path}: is there already and is never overwritten; {remedy} another folder")


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
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise PccloraError(f"{path}: cannot be read: {error}") from error
    return parse_json(text, path)


def parse_json(text: str, place: object) -> Any:
    """Read JSON of any content.

    Args:
        text: The JSON.
        place: Where it stands, for the message.

    Raises:
        PccloraError: If it is damaged, nested without end, names something twice, or holds numbers that JSON does not
            know.
    """
    try:
        values = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twice)
        _refuse_depth(values)
    except RecursionError as error:
        raise PccloraError(f"{place}: cannot be read: nested too deeply to be data") from error
    except ValueError as error:  # no JSON, or a number of thousands of digits
        raise PccloraError(f"{place}: cannot be read: {error}") from error
    return values


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        PccloraError: If it is absent, damaged or holds something else.
    """
    values = load_json(path)
    if not isinstance(values, dict):
        raise PccloraError(f"{path}: one JSON object is expected, found {type(values).__name__}")
    return values


def _refuse_depth(values: Any) -> None:
    """Refuse what is nested so deeply that whoever walks through it might meet Python's own limit."""
    level = [values]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RecursionError


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"'{twice[:80]}' is named twice")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


@contextmanager
def _reserving(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Make a file or folder beside ``path`` that is this process's own; it is removed on leaving if it is still there.

    Args:
        path: What it will become.
        make: Makes it, empty, or raises FileExistsError.
    """
    prefix = f".{path.name[:50]}.partial"  # the name of a file may have 255 bytes
    _remove_abandoned(path.parent, prefix)
    while True:
        temporary = path.with_name(f"{prefix}-{secrets.token_hex(4)}")
        make(temporary)
        lock = _lock(temporary, wait=True)
        if temporary.exists():  # else another process took it for abandoned before it was locked
            break
        _unlock(lock)
    try:
        yield temporary
    finally:
        _remove(temporary)
        _unlock(lock)


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove what killed writes left of one file or folder: what no living process has locked."""
    try:
        names = os.listdir(folder)
    except OSError:  # a folder that may be written to, but not be listed
        return
    for name in names:
        if name == prefix or name.startswith(f"{prefix}-"):
            lock = _lock(folder / name, wait=False)
            if lock is not None:
                _remove(folder / name)
            _unlock(lock)


def _lock(path: Path, *, wait: bool) -> int | None:
    """Lock a file or folder while this process lives.

    Returns:
        What :func:`_unlock` takes; None if another process holds it, it is gone, or its file system has no locks.
    """
    if fcntl is None:
        return None
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        _unlock(descriptor)
        return None
    return descriptor


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder; NTFS journals the rename itself
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
