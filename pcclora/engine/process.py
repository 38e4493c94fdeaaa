"""What becomes of a tool's process when it is told to end, from its first moment: one sentence, and nothing lost.

A tool imports this module before all others: the rest takes seconds, and whoever presses Ctrl-C meanwhile sees a
sentence as well. So it imports nothing but what Python has loaded already.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal has gone"}
SIGNALS = {signal.Signals[name]: words for name, words in WORDS.items() if hasattr(signal, name)}


class Stopped(KeyboardInterrupt):
    """A signal asks for the end; to libraries it is a Ctrl-C.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)

    def __str__(self) -> str:
        """Say what has happened."""
        return SIGNALS[self.number]

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells have it: 130, 143, 129."""
        return 128 + self.number


class Stops:
    """Signals that have come.

    Attributes:
        last: What was raised for the last of them, None before the first: a library may have put another error in
            its place.
    """

    last: Stopped | None = None

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        """Raise :class:`Stopped`, in the main thread."""
        self.last = Stopped(number)
        raise self.last


@contextmanager
def stoppable() -> Iterator[Stops]:
    """Raise :class:`Stopped` inside where a signal asks for the end; one that is ignored, as under nohup, stays so."""
    stops = Stops()
    before = _set(stops) if threading.current_thread() is threading.main_thread() else {}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _disarm()


def _set(handler: Any) -> dict[signal.Signals, Any]:
    heard = {number: held for number in SIGNALS if (held := signal.getsignal(number)) not in (signal.SIG_IGN, None)}
    for number in heard:
        signal.signal(number, handler)
    return heard


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    stopped = Stopped(number)
    with suppress(OSError):
        os.write(2, f"{stopped} before anything was begun\n".encode())
    os._exit(stopped.exit_code)


def _arm() -> dict[signal.Signals, Any]:
    """Until :func:`stoppable`, nothing is to be saved; and no file of ours may get the number of a closed stream."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    is_main = threading.current_thread() is threading.main_thread()
    return _set(_end_at_once) if is_main else {}


def _disarm() -> None:
    for number, handler in _ARMED.items():
        if signal.getsignal(number) is _end_at_once:
            signal.signal(number, handler)


_ARMED = _arm()
