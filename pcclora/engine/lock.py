"""One process at a time in a run's folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pcclora.errors import PccloraError

_held: set[int] = set()


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder that has a ``config.yaml``, as all of ours do.

    The lock is the operating system's, on that file: it ends with the process, however that ends, and leaves nothing
    behind. Where there are no such locks, as on Windows, nobody is kept out.

    Args:
        folder: The folder.
        shared: Let in who shares it too, as the shards of one study.

    Raises:
        PccloraError: If another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    config = folder / "config.yaml"
    try:
        # for writing where that is allowed: NFS locks no file that is only read
        descriptor = os.open(config, os.O_RDWR if os.access(config, os.W_OK) else os.O_RDONLY)
    except OSError as error:
        raise PccloraError(f"{config}: cannot be opened: {error.strerror}") from error
    _held.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PccloraError(f"{folder}: another process is at work on it; wait for its end, or stop it") from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _let_go() -> None:
    """Close the locks in a forked process: a loader's worker may outlive a killed run by seconds."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
