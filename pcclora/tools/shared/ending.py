"""How a tool ends.

=========  ==========================================================================================
exit code  after
=========  ==========================================================================================
0          all that was asked for; also where the reader of the output had enough of it, as ``head``,
           or a finished run's table could not be printed (standard error says so)
1          some runs or folds of a study failed, and are named; or an error of our own
2          bad input, a full disk, an output that cannot be written: one message, ``error: ...``
129        SIGHUP: the terminal has gone
130, 143   SIGINT (Ctrl-C), SIGTERM: the run goes on from its last checkpoint by ``--resume``
=========  ==========================================================================================
"""

import atexit
import os
import sys
from collections.abc import Callable

from pcclora.engine import console
from pcclora.engine.process import Stopped, stoppable
from pcclora.errors import PccloraError


def run_tool(main: Callable[[], None], *, resumes: bool = False) -> None:
    """Run a tool's main function: messages to stderr, and an exit code of the table above.

    Args:
        main: It.
        resumes: What it makes can be gone on with by ``--resume``; who has ended it is told so.
    """
    with console.prepared(), stoppable() as stops:
        try:
            main()
            _leave_together()
        except (Exception, KeyboardInterrupt) as error:
            # a signal ends workers too, and their end may have become another error before the signal's own arrives
            stopped = stops.last or error
            if isinstance(stopped, KeyboardInterrupt):
                word = str(stopped) if isinstance(stopped, Stopped) else "interrupted"
                console.complain(f"{word}; a run goes on from its last checkpoint by --resume" if resumes else word)
                atexit.register(_say_no_more)
                sys.exit(stopped.exit_code if isinstance(stopped, Stopped) else 130)
            if (problem := _of_the_surroundings(error)) is None:
                raise
            console.complain(f"error: {problem}")
            sys.exit(getattr(error, "exit_code", 2))


def _say_no_more() -> None:
    """Keep what finalisers of ended workers complain of to themselves: the one sentence has been said."""
    sys.stderr = open(os.devnull, "w", encoding="utf-8")


def _of_the_surroundings(error: BaseException) -> str | None:
    """Return what is to be said of bad input, a lack of memory, or a file that the system denies; of no other error."""
    if isinstance(error, PccloraError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"not enough memory: {error}"
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes):
        return f"{os.fsdecode(error.filename)}: {error.strerror}; is there such a file, and may you use it?"
    return None


def _leave_together() -> None:
    """End the processes of ``accelerate launch``: one that just exits takes the connections from the others."""
    if "torch" not in sys.modules:  # it takes a second
        return
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        # gloo's threads can abort an orderly exit: "terminate called without an active exception"
        os._exit(0)
