"""Reads files in a process of its own that may hang, crash or fill the memory, and says what came of it."""

import hashlib
import multiprocessing
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 20.0
MEMORY = 2 * 2**30
"""Bytes above what the process held before, at the peak."""
SAFETY = 4 * 2**30
"""No more is ever given to the process: who asks for it is over ``MEMORY`` whether the machine has it or not."""

PRELOADED = [
    *("torch.utils.tensorboard", "torch._dynamo", "accelerate", "pcclora.runs.adapt", "pcclora.vis"),
    *("trimesh", "laspy", "pypcd4", "h5py", "sklearn.metrics", "matplotlib.figure"),
]
"""Imported once, by the process that all others are forked from."""

Answer = Mapping[str, Any]
READ, REFUSED = "read", "refused"
FAULTS = ("traceback", "not finite", "hang", "memory", "crash")


@dataclass(frozen=True)
class Outcome:
    """What came of one reading.

    Attributes:
        what: ``read``, ``refused`` (one PccloraError), or one of :data:`FAULTS`.
        detail: The message, or the end of the traceback.
        digest: Of all that was read; equal readings have equal ones.
        started: Programs that the reader started.
    """

    what: str
    detail: str = ""
    digest: str = ""
    started: tuple[str, ...] = ()


class Guard:
    """A process that reads; after a hang or a crash another takes its place.

    Args:
        environment: Variables of the process.
    """

    def __init__(self, **environment: str) -> None:
        self.environment = environment
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        self.process: Any = None

    def run(self, read: Callable[[Path], Answer], folder: Path) -> Outcome:
        """Read with a function of a module: ``read(folder)`` returns all that it read."""
        if self.process is None:
            self._start()
        self.pipe.send((read, folder))
        try:
            if self.pipe.poll(SECONDS):
                return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            self.close()
            return Outcome("crash", f"the process ended with {code}")
        self.close()
        return Outcome("hang", f"not done after {SECONDS:.0f} s")

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
            self.process = None

    def _start(self) -> None:
        self.pipe, end = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(end, self.environment), daemon=True)
        self.process.start()
        end.close()
        assert self.pipe.poll(120) and self.pipe.recv() == "ready"  # imports are not the reader's time


def _serve(pipe: Any, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    silent = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silent, descriptor)
    warnings.simplefilter("ignore")
    started: list[str] = []
    sys.addaudithook(lambda event, details: started.append(f"{event} {details}") if event in _STARTS else None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _status("VmSize") + SAFETY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    pipe.send("ready")
    while True:
        try:
            read, folder = pipe.recv()  # imports what the reader needs: that is not the reading
        except EOFError:
            return
        started.clear()
        pipe.send(replace(_judge(read, folder), started=tuple(started)))


_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pty.spawn")


def _judge(read: Callable[[Path], Answer], folder: Path) -> Outcome:
    from pcclora.errors import PccloraError

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    try:
        answer = read(folder)
        outcome = Outcome(READ, digest=digest(answer))
        if strange := _not_finite(answer):
            outcome = Outcome("not finite", f"{strange} holds NaN or infinity")
    except PccloraError as error:
        outcome = Outcome(REFUSED, str(error))
    except MemoryError:
        outcome = Outcome("memory", f"MemoryError {_last_lines()}")
    except Exception:
        outcome = Outcome("traceback", _last_lines())
    taken = _status("VmHWM") - before
    return Outcome("memory", f"{taken / 2**30:.1f} GiB, then {outcome}") if taken > MEMORY else outcome


def digest(answer: Answer) -> str:
    """Return a sha256 over everything that was read."""
    held = hashlib.sha256()
    for name, value in sorted(answer.items()):
        array = np.asarray(value)
        held.update(f"{name} {array.dtype} {array.shape} ".encode())
        held.update(repr(value).encode() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes())
    return held.hexdigest()


def _not_finite(answer: Answer) -> str:
    arrays = {name: np.asarray(value) for name, value in answer.items()}
    return next((k for k, v in arrays.items() if v.dtype.kind in "fc" and not np.isfinite(v).all()), "")


def _status(name: str) -> int:
    rows = dict(row.split(":", 1) for row in Path("/proc/self/status").read_text().splitlines())
    return int(rows[name].split()[0]) * 1024


def _last_lines() -> str:
    lines = [row.strip() for row in traceback.format_exc(limit=-2).splitlines() if row.strip(" ^~")]
    return " | ".join(lines[-3:])[:300]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Wait until something is true; False if it does not become so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
