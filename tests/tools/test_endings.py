"""How the tools end: what they say where it cannot be said, what a signal does, and who else is let in."""

import io
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from pcclora.engine import console
from pcclora.engine.lock import locked
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.tools.shared.ending import run_tool
from tests.tools.test_tools import TINY, call, train

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="has no /dev/full or /proc")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(folder, "train.epochs=1") == 0
    return folder


def environment(**changes):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | changes


def start(tool, *arguments, **options):
    """Start a tool as a shell does: a signal that pytest itself ignores is not ignored there."""
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    return subprocess.Popen(command, preexec_fn=_heard, **(pipes | options))


def _heard():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def ended(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")


# ---- what is written


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "-- 3 +- 1 ... a - b -> \\u4e2d \\xe9"),
        ("cp1252", "-- 3 ± 1 … a · b -> \\u4e2d é"),
        ("utf-8", "── 3 ± 1 … a · b → 中 é"),
    ],
)
def test_every_encoding_shows_a_table(monkeypatch, encoding, shown):
    out = stream(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    run_tool(lambda: console.write("── 3 ± 1 … a · b → 中 é\n"))
    assert out.buffer.getvalue().decode(encoding) == f"{shown}\n"


@pytest.mark.parametrize("name", ["\x1b[2J", "\x9b31m", "\u202e", "\udcff", "\x07"])
def test_no_name_reaches_the_terminal_as_it_is(capsys, caplog, name):
    def main():
        console.write(f"class {name}\n\tand more\n")
        logger.info("log %s", name)
        warnings.warn(f"warned of\n{name}", stacklevel=1)
        raise PccloraError(f"wrong {name}")

    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    shown = name.encode("unicode_escape").decode()
    out, err = capsys.readouterr()
    assert stopped.value.code == 2 and out == f"class {shown}\n\tand more\n"
    assert err == f"log {shown}\nwarning: warned of {shown}\nerror: wrong {shown}\n"
    assert caplog.messages == [f"log {shown}", f"warned of {shown}"]  # as any other handler has it


class Broken(io.StringIO):
    """A stream whose other end is gone, full or closed."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


LOST = [OSError(28, "No space left on device"), ValueError("I/O operation on closed file"), None]


@pytest.mark.parametrize("error", LOST)
def test_work_that_is_done_is_not_lost_with_its_table(monkeypatch, capsys, tmp_path, error):
    monkeypatch.setattr(sys, "stdout", Broken(error) if error else None)
    run_tool(lambda: console.write("table", kept=tmp_path / "run"))
    assert f"the work is done, and lies in {tmp_path / 'run'}" in capsys.readouterr().err


@pytest.mark.parametrize("error", LOST)
def test_an_answer_that_cannot_be_shown_is_an_error(monkeypatch, capsys, error):
    monkeypatch.setattr(sys, "stdout", Broken(error) if error else None)
    with pytest.raises(SystemExit) as stopped:
        run_tool(lambda: console.write("answer"))
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.startswith("error: standard output cannot be written: ")


def test_a_reader_that_has_enough_is_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError()))
    run_tool(lambda: console.write("answer"))
    assert not capsys.readouterr().err


@pytest.mark.parametrize("error", [*LOST, BrokenPipeError()])
def test_standard_error_is_worth_no_run(monkeypatch, error):
    done = []
    monkeypatch.setattr(sys, "stderr", Broken(error) if error else None)

    def main():
        logger.info("epoch 1")
        warnings.warn("few points", stacklevel=1)
        done.append(True)

    run_tool(main)
    assert done


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirected", "code"),
    [(">/dev/full", 0), (">&-", 0), ("2>&-", 0), ("2>/dev/full", 0), (">&- 2>&- <&-", 0), ("| true", 0)],
)
def test_the_streams_of_a_real_shell(run, redirected, code):
    command = f"set -o pipefail; {sys.executable} {ROOT}/tools/train_cls.py --resume '{run}' {redirected}"
    done = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr


@pytest.mark.slow
def test_a_posix_locale(run):
    surroundings = environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    code, out, err = ended(start("train_cls", "--resume", run, env=surroundings))
    assert code == 0 and out.startswith("-" * 80 + "\n") and not err


# ---- names


def test_a_file_may_begin_with_a_dash(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("-f.npy", np.random.default_rng(0).random((70, 3)))
    np.save("a.npy", np.random.default_rng(1).random((70, 3)))
    assert call("predict", "--run", run, "--", "-f.npy") == 0
    assert capsys.readouterr().out.startswith("-f.npy ")
    assert call("predict", "a.npy", "--run", run, "--", "-f.npy") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["a.npy", "-f.npy"]


TOO_LONG = "x" * 300
"""No file of this name can be; even to ask whether there is one fails."""


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("predict", ["a.npy", "--run", TOO_LONG]),
        ("predict", ["a.npy", "--run", "RUN", "--checkpoint", TOO_LONG]),
        ("predict", ["a.npy", "--run", "RUN", "--plugin", TOO_LONG]),
        ("predict", [TOO_LONG, "--run", "RUN"]),
        ("evaluate", ["--run", "RUN", "--output", TOO_LONG]),
        ("evaluate", ["--run", "RUN", "data=folder", f"data.root={TOO_LONG}"]),
        ("train_cls", ["--config", TOO_LONG]),
        ("train_cls", ["--resume", TOO_LONG]),
        ("train_cls", ["--output", TOO_LONG, "train.epochs=1", "data.train=16", "data.test=16"]),
        ("train_image", ["data=vtab1k", "data.root=RUN", f"data.task={TOO_LONG}"]),
        ("train_image", ["--grid", TOO_LONG]),
        ("write_episodes", [TOO_LONG]),
        ("fewshot", [f"episodes={TOO_LONG}"]),
        ("fewshot", ["--resume", TOO_LONG]),
        ("visualize", ["--run", TOO_LONG]),
        ("results", [TOO_LONG, "--output", TOO_LONG]),
    ],
)
def test_a_name_that_no_file_can_have_is_one_error(tool, words, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.random.default_rng(0).normal(size=(64, 3)))
    assert call(tool, *(word.replace("RUN", str(run)) for word in words)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") or "\nerror: " in error
    assert TOO_LONG in error and "Traceback" not in error


def test_what_the_system_says_of_a_file_is_no_traceback(capsys):
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: Path("/nowhere/a.txt").read_text())
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: /nowhere/a.txt: No such file or directory; ")


@linux
def test_paths_of_any_bytes_train_resume_and_predict(tmp_path, capsys):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff it's"))
    folder.mkdir()
    np.save(folder / "a\x1b[2J.npy", np.random.default_rng(0).random((70, 3)))
    assert train(folder / "run", "train.epochs=1") == 0
    assert call("train_cls", "--resume", folder / "run") == 0
    out = capsys.readouterr().out
    assert (
        f"--run '{tmp_path}/b\\udcff it'\"'\"'s/run'" in out.splitlines()[-1]
    )  # as a shell takes it, but for the byte
    assert call("predict", folder / "a\x1b[2J.npy", "--run", folder / "run") == 0
    shown = capsys.readouterr().out
    assert "a\\x1b[2J.npy" in shown and "\x1b" not in shown


# ---- signals


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "the terminal has gone"),
    ],
)
def test_a_signal_is_one_sentence(capsys, number, code, words):
    before = signal.getsignal(number)
    try:
        signal.signal(number, signal.default_int_handler)  # whatever pytest was started with
        with pytest.raises(SystemExit) as stopped:
            run_tool(lambda: os.kill(os.getpid(), number) or time.sleep(5))
    finally:
        signal.signal(number, before)
    assert stopped.value.code == code
    assert capsys.readouterr().err == f"{words}\n"


def test_an_evaluation_that_is_ended_while_it_draws_leaves_nothing(run, tmp_path, monkeypatch, capsys):
    def end(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    output = tmp_path / "tested"
    with monkeypatch.context() as patch:
        patch.setattr("pcclora.tools.evaluate.draw_test", end)
        assert call("evaluate", "--run", run, "--output", output) == 143
    assert not list(tmp_path.iterdir())
    assert call("evaluate", "--run", run, "--output", output) == 0
    assert {file.name for file in output.iterdir()} == {
        "summary.json",
        "predictions.csv",
        "confusion.png",
        "reliability.png",
    }


def test_a_signal_that_is_ignored_stays_so(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run_tool(lambda: os.kill(os.getpid(), signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_that_a_signal_has_caused_is_the_signal(capsys):
    def main():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            raise RuntimeError("a worker exited unexpectedly") from None

    with pytest.raises(SystemExit) as stopped:
        run_tool(main)
    assert stopped.value.code == 143 and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_rest_is_imported(number):
    code = (
        "import os, sys; from pcclora.engine import process; assert not {'torch', 'numpy'} & sys.modules.keys(); "
        f"os.kill(os.getpid(), {int(number)})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, preexec_fn=_heard)
    assert done.returncode == 128 + number
    assert done.stderr.endswith("ed before anything was begun\n") and len(done.stderr.splitlines()) == 1


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(word) for word in found] + [own for word in found for own in children(int(word))]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.1)


LONG = {
    "train_cls": ["--config", TINY / "cls.yaml", "train.epochs=100000", "train.eval_every=0"],
    "fewshot": ["--config", TINY / "fewshot.yaml", "train.epochs=100000", "--jobs", "2"],
}


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "more", "begun"),
    [
        ("train_cls", ["train.workers=2"], "timing.csv"),
        ("train_cls", ["--seeds", "0", "1", "--jobs", "2"], "seed_1/timing.csv"),
        ("fewshot", [], "folds/*/*"),
    ],
)
def test_children_end_with_a_tool_that_is_terminated(tmp_path, tool, more, begun):
    process = start(tool, *LONG[tool], *more, "--output", tmp_path / "run")
    wait_for(lambda: list((tmp_path / "run").glob(begun)), process)
    held = children(process.pid)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert held and code == 143
    assert err.splitlines()[-1:] == ["terminated; a run goes on from its last checkpoint by --resume"]
    end = time.monotonic() + 10
    while any(map(alive, held)):
        assert time.monotonic() < end
        time.sleep(0.1)


# ---- two at once


def test_one_at_a_time(tmp_path):
    (tmp_path / "config.yaml").touch()
    with locked(tmp_path):
        for shared in (False, True):
            with (
                pytest.raises(PccloraError, match="another process is at work on it"),
                locked(tmp_path, shared=shared),
            ):
                pass
    with locked(tmp_path, shared=True), locked(tmp_path, shared=True):
        with pytest.raises(PccloraError, match="another process is at work on it"), locked(tmp_path):
            pass
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_forked_worker_holds_no_lock(tmp_path):
    (tmp_path / "config.yaml").touch()
    heard, said = os.pipe()
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(said, b"here")
            time.sleep(20)
            os._exit(0)
    try:
        assert os.read(heard, 4) == b"here"
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@linux
@pytest.mark.slow
def test_a_run_is_resumed_by_one_process(tmp_path):
    first = start("train_cls", *LONG["train_cls"], "train.workers=2", "--output", tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint" / "last.safetensors"
    wait_for(checkpoint.is_file, first)
    code, _, err = ended(start("train_cls", "--resume", tmp_path / "run"))
    assert code == 2 and "another process is at work on it" in err and "Traceback" not in err
    first.kill()
    first.wait()
    again = start("train_cls", "--resume", tmp_path / "run")  # at once: a killed process leaves no lock
    before = checkpoint.stat().st_mtime_ns
    wait_for(lambda: checkpoint.stat().st_mtime_ns > before, again)
    again.terminate()
    assert ended(again)[0] == 143


@pytest.mark.slow
def test_an_output_folder_is_won_by_one_process(tmp_path):
    arguments = ["--config", TINY / "cls.yaml", "--output", tmp_path / "run"]
    ends = [ended(process) for process in [start("train_cls", *arguments) for _ in range(2)]]
    assert sorted(code for code, _, _ in ends) == [0, 2]
    assert next(err for code, _, err in ends if code == 2).startswith("error: ")
    assert (tmp_path / "run" / "summary.json").is_file()
