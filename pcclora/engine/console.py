"""What the tools write to the terminal: readable in every encoding, and nothing in it that a terminal would obey.

No stream is worth a run: where standard output or error cannot be written any more, the work goes on.
"""

import codecs
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.text import visible

PLAIN = {
    **{"─": "-", "—": "-", "–": "-", "·": "-", "…": "...", "±": "+-", "×": "x", "→": "->", "≥": ">=", "≤": "<="},  # noqa: RUF001
    **{"“": '"', "”": '"', "‘": "'", "’": "'", "°": " degrees", "²": "2", "³": "3"},  # noqa: RUF001
}
"""What stands for a character where the terminal's encoding has none for it; all others are written as ``\\u4e2d``."""

_LEFTOVERS = "ignore:resource_tracker:UserWarning"
"""Passed on to joblib's processes, one of which tidies up after the others when they are ended and need not say so."""


def write(text: str, *, kept: Path | None = None) -> None:
    """Write to standard output, at once.

    A reader that has seen enough, as ``head``, is no failure.

    Args:
        text: Names in it may hold any character; it is shown as :func:`pcclora.text.visible` has it.
        kept: Where all that it says lies as well: then it is no failure that it cannot be shown.

    Raises:
        PccloraError: If it cannot be written, as on a full disk, and is kept nowhere.
    """
    stream = sys.stdout
    try:
        if stream is None:
            raise OSError("it is closed")
        stream.write(visible(text, lines=True))
        stream.flush()
    except BrokenPipeError:
        _let_go(stream)
    except (OSError, ValueError) as error:  # ValueError: a stream that was closed in this process
        _let_go(stream)
        if stream is None:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")
        problem = f"standard output cannot be written: {getattr(error, 'strerror', None) or error}"
        if kept is None:
            raise PccloraError(problem) from error
        complain(f"{problem}; the work is done, and lies in {kept}")


def complain(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{visible(text, lines=True)}\n")
    sys.stderr.flush()


@contextmanager
def prepared() -> Iterator[None]:
    """Inside, both streams take every character, log lines and warnings are shown, and a lost stream ends nothing."""
    codecs.register_error("pcclora", _in_plain_characters)
    error, shown = sys.stderr, warnings.showwarning
    for stream in (sys.stdout, error):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="pcclora")
    if _LEFTOVERS not in sys.warnoptions:
        sys.warnoptions.append(_LEFTOVERS)
    handler = _ProgressSafeHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    sys.stderr = _Lasting(error)
    warnings.showwarning = _show_warning
    try:
        yield
    finally:
        sys.stderr, warnings.showwarning = error, shown
        logger.removeHandler(handler)


def prepare_worker() -> None:
    """Prepare a process that works for a tool: warnings are lines here too, and it leaves nothing when it is killed."""
    from tqdm import tqdm

    warnings.showwarning = _show_warning
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which outlives a killed process


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    logger.warning("%s", " ".join(str(message).split()))


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("unicode_escape").decode("ascii") for c in text), error.end


def _let_go(stream: TextIO | None) -> None:
    """Lead a stream that cannot be written into nothing, so that what it still holds fails no more at the end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


class _Lasting:
    """Standard error that may be closed, full or gone: then what is written to it is lost, and nothing else.

    Args:
        stream: The real one; None where the process was started without.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: Any = stream or open(os.devnull, "w", encoding="utf-8")

    def write(self, text: str) -> int:
        """Write; returns the number of characters."""
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush."""
        self._try(self._stream.flush)

    def _try(self, call: Any, *arguments: str) -> None:
        try:
            call(*arguments)
        except (OSError, ValueError):
            _let_go(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _ProgressSafeHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes above a progress bar, not through it, and a warning once: data are opened more than once in a run."""

    def __init__(self) -> None:
        super().__init__()
        self._warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        text = self.format(record)
        if record.levelno >= logging.WARNING:
            if text in self._warned:
                return
            self._warned.add(text)
            text = f"warning: {text}"
        tqdm.write(visible(text, lines=True), file=sys.stderr)
