"""Runs the tools in processes forked from one that has imported everything, so that each takes moments."""

import io
import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT
from tests.robustness.guard import PRELOADED

TINY = ROOT / "tests" / "tiny"
SMALL = ("data.train=16", "data.test=8", "train.eval_every=1")


class Ended(NamedTuple):
    """How a tool ended: exit code (minus the signal that killed it) and what it said."""

    code: int | None
    out: str
    err: str

    @property
    def clear(self) -> bool:
        """Whether it ended well, or in one message."""
        told = "Traceback" not in self.out + self.err
        return told and (self.code == 0 or (self.code == 2 and self.err.count("error: ") == 1))


class Tool:
    """A tool at work.

    Args:
        name: The file in ``tools/`` without ``.py``.
        arguments: Its command line.
        home: Takes what it says.
        file_limit: Bytes that one file may have.
    """

    def __init__(self, name: str, *arguments: object, home: Path, file_limit: int | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self.out, self.err = home / "stdout", home / "stderr"
        words = [str(ROOT / "tools" / f"{name}.py"), *map(os.fspath, map(_text, arguments))]
        self.process: Any = context.Process(target=_play, args=(words, self.out, self.err, file_limit))
        self.process.start()

    def ended(self, seconds: float = 240) -> Ended:
        """Wait for its end."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        self.process.close()
        return Ended(code, *(file.read_text(errors="replace") for file in (self.out, self.err)))


def call(name: str, *arguments: object, home: Path, file_limit: int | None = None) -> Ended:
    """Run a tool to its end."""
    return Tool(name, *arguments, home=home, file_limit=file_limit).ended()


def train(output: Path, *overrides: str, home: Path, **options: Any) -> Ended:
    """Run tools/train_cls.py on the tiny configuration, with few objects."""
    return call("train_cls", *training(output, *overrides), home=home, **options)


def training(output: Path, *overrides: str) -> list[object]:
    """Return the command line of such a run."""
    return ["--config", TINY / "cls.yaml", "--output", output, *SMALL, *overrides]


def _text(argument: object) -> str:
    return os.fspath(argument) if isinstance(argument, os.PathLike) else str(argument)


def _play(words: Sequence[str], out: Path, err: Path, file_limit: int | None) -> None:
    for number, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding="utf-8", write_through=True)
        for number in (1, 2)
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.argv = list(words)
    runpy.run_path(words[0], run_name="__main__")


@contextmanager
def mounted(folder: Path, *, kilobytes: int) -> Iterator[Path]:
    """Mount a file system of so many kilobytes; the test is skipped where that is not allowed."""
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def enlarge(folder: Path) -> None:
    """Give a mounted file system room."""
    _mount("-o", "remount,size=64m", str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Mount a folder onto itself so that nobody can write there; the test is skipped where that is not allowed."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
