"""The one runner of all studies: leaves that are each run once, at the same time, here or on a cluster.

A study is a folder of leaves: the runs of several seeds, the points of a grid, the settings of a comparison, few-shot
folds. A leaf is finished once its file is there, and is never run again then; one that fails is named, and the others
go on. joblib runs them: in processes of this machine, on the workers of a Dask scheduler, or on a Ray cluster. Where
there is no such scheduler, as in a SLURM array, each process takes a shard of the leaves.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pcclora.atomic import creating_folder, load_json, write_json, write_text
from pcclora.engine import console
from pcclora.engine.environment import single_process
from pcclora.errors import PccloraError
from pcclora.extras import of_extra
from pcclora.log import logger
from pcclora.registry import load_plugin

T = TypeVar("T")

LOST = ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker", "RayActorError", "ActorDiedError")
"""What joblib, Dask and Ray raise when a process of theirs has died."""


@dataclass(frozen=True)
class Leaf:
    """One piece of a study.

    Attributes:
        name: As a message names it.
        file: It is there once the leaf is finished.
        call: Runs it. It can be pickled and holds plain values only: a process may not know a plugin's classes yet.
    """

    name: str
    file: Path
    call: Callable[[], object]


@dataclass(frozen=True)
class Workers:
    """Who runs the leaves.

    Attributes:
        jobs: Processes of this machine, which share its threads; 0 is one a core, or one where there is a GPU. 1 runs
            the leaves in this process.
        scheduler: ``dask://HOST:PORT`` or ``ray://HOST:PORT`` of a cluster that runs them instead, with one thread
            each; ``ray://auto`` is the one that this machine is part of, ``ray://local`` starts one. Its machines must
            see the same folders under the same paths.
        shard: Which share of the leaves is run here, from 1 on, and of how many.
        plugins: Files that each process must run first.
    """

    jobs: int = 1
    scheduler: str = ""
    shard: tuple[int, int] = (1, 1)
    plugins: Sequence[Path] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        number, count = self.shard
        if not 1 <= number <= count:
            raise PccloraError(f"--shard {number}/{count}: the shards of {count} are 1/{count} to {count}/{count}")
        if self.jobs < 0:
            raise PccloraError(f"--jobs {self.jobs}: choose 1 or more, or 0 for one a core")
        if not single_process() and (self.jobs > 1 or self.scheduler):
            raise PccloraError("--jobs and --scheduler start processes of their own; leave out accelerate launch")

    def share(self, leaves: Sequence[T]) -> Sequence[T]:
        """Return those that are run here, by their place among all."""
        number, count = self.shard
        return leaves[number - 1 :: count]


HERE = Workers()
"""One leaf after another, in this process."""


@dataclass
class Outcome:
    """What became of the leaves.

    Attributes:
        failed: Those that failed, and why.
        left: Those that are neither finished nor failed: of other shards.
        diverged: Those of ``failed`` whose training diverged, as it would again.
    """

    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    diverged: set[str] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        """Whether all are finished."""
        return not self.failed and not self.left

    def refuse_failures(self, again: str) -> None:
        """Raise if a leaf failed.

        Args:
            again: How it is tried again, as ``--resume FOLDER``.

        Raises:
            LeavesFailedError: Naming each, and why.
        """
        if not self.failed:
            return
        lines = "".join(f"failed: {name}: {why}\n" for name, why in self.failed.items())
        remedies = [f"again: {again}"] if self.failed.keys() - self.diverged else []
        if self.diverged:
            remedies.append(f"{len(self.diverged)} diverged and would again: begin anew with a lower learning rate")
        raise LeavesFailedError(f"{lines}{len(self.failed)} failed, what is finished stays; {'; '.join(remedies)}")


class LeavesFailedError(PccloraError):
    """Some leaves of a study failed; the others are finished."""

    exit_code = 1


def run_leaves(leaves: Sequence[Leaf], workers: Workers, *, title: str = "", unit: str = "run") -> Outcome:
    """Run every leaf of this process's share that is not finished.

    Args:
        leaves: All of the study, finished or not, in an order that all shards agree on.
        workers: Who runs them.
        title: Of the progress bar; none without.
        unit: What the bar counts.

    Raises:
        PccloraError: If there are no such workers, or one of them dies; what is finished stays.
    """
    from tqdm import tqdm

    waiting = [leaf for leaf in workers.share(leaves) if not leaf.file.is_file()]
    failed, diverged = dict[str, str](), set[str]()
    quiet = None if title else True  # None: off where there is no terminal
    bar = {"desc": title, "total": len(waiting), "unit": unit, "disable": quiet, "dynamic_ncols": True}
    try:
        for name, error, again in tqdm(_results(waiting, workers), **bar):
            if error is not None:
                failed[name] = error
                diverged |= {name} if again else set()
                logger.error("failed: %s: %s", name, error)
    except Exception as error:
        if type(error).__name__ not in LOST:
            raise
        raise PccloraError(f"a process died, perhaps of memory; what is finished stays: {error}") from error
    left = [leaf.name for leaf in leaves if leaf.name not in failed and not leaf.file.is_file()]
    return Outcome(failed, left, diverged)


def begin_study(output: Path, files: Mapping[str, Any], more: Callable[[Path], None] | None = None) -> None:
    """Make a study's folder, or join the study there that was begun with the same files: by another shard, or before.

    Args:
        output: The folder.
        files: Name -> text, or values for JSON, that tell the study from others.
        more: Writes further files into the folder it is given.

    Raises:
        PccloraError: If something else is there, or it cannot be written.
    """
    try:
        with creating_folder(output) as temporary:
            for name, content in files.items():
                (write_text if isinstance(content, str) else write_json)(temporary / name, content)
            if more is not None:
                more(temporary)
    except PccloraError:
        if not holds_study(output, files):  # it does where another shard was faster by a moment
            raise


def holds_study(output: Path, files: Mapping[str, Any]) -> bool:
    """Whether a folder has files with the same content."""
    return all(
        (file := output / name).is_file()
        and (file.read_text(encoding="utf-8") if isinstance(content, str) else load_json(file)) == content
        for name, content in files.items()
    )


def _results(leaves: Sequence[Leaf], workers: Workers) -> Iterator[tuple[str, str | None, bool]]:
    """Run leaves; gives the name of each, why it failed, and whether by diverging."""
    if not leaves:
        return
    if not single_process():  # a process that went on alone would wait for the others for ever
        for leaf in leaves:
            leaf.call()
            yield leaf.name, None, False
        return
    with of_extra("train", "a study"):
        from joblib import Parallel, delayed

    with _backend(workers, len(leaves)) as (jobs, threads):
        plugins = tuple(str(path.resolve()) for path in workers.plugins)
        folder = Path.cwd() if workers.scheduler else None
        tasks = (delayed(_run)(leaf.name, leaf.call, plugins, threads, folder) for leaf in leaves)
        # Ray's backend gives all results at the end
        kind = "list" if workers.scheduler.startswith("ray://") else "generator_unordered"
        yield from Parallel(n_jobs=jobs, return_as=kind, batch_size=1)(tasks)


def _run(
    name: str, call: Callable[[], object], plugins: tuple[str, ...], threads: int | None, folder: Path | None
) -> tuple[str, str | None, bool]:
    try:
        with nullcontext() if folder is None else chdir(folder):  # relative paths mean the same there
            if threads is not None:  # a process of its own: it knows nothing of the parent's plugins and threads
                import torch

                console.prepare_worker()
                torch.set_num_threads(threads)
                _load_plugins(plugins)
            call()
    except PccloraError as error:
        return name, str(error), _diverged(error)
    except Exception as error:  # of whatever kind: the others go on, and this one is named
        at = traceback.extract_tb(error.__traceback__)[-1]
        return name, f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})", False
    return name, None, False


def _diverged(error: PccloraError) -> bool:
    from pcclora.engine.loop import DivergenceError  # here, not above: it imports torch

    return isinstance(error, DivergenceError)


@lru_cache(maxsize=1)
def _load_plugins(plugins: tuple[str, ...]) -> None:
    """Run plugins, once in the life of a process."""
    for plugin in plugins:
        load_plugin(plugin)


@contextmanager
def _backend(workers: Workers, leaves: int) -> Iterator[tuple[int, int | None]]:
    """Set joblib up; gives the number of jobs, and the threads of each, None where the leaves run in this process."""
    import torch
    from joblib import cpu_count, parallel_config

    if workers.scheduler:
        name, connected = ("ray", _ray) if workers.scheduler.startswith("ray://") else ("dask", _dask)
        with connected(workers.scheduler) as count, parallel_config(backend=name):
            yield count, 1
        return
    jobs = workers.jobs or (1 if torch.accelerator.is_available() else cpu_count())
    jobs = max(min(jobs, leaves), 1)
    yield jobs, max(torch.get_num_threads() // jobs, 1) if jobs > 1 else None


@contextmanager
def _dask(address: str) -> Iterator[int]:
    """Connect to a Dask scheduler; gives the number of its workers."""
    with of_extra("dask", f"--scheduler {address}"):
        from distributed import Client
    try:
        client = Client(address.replace("dask://", "tcp://"), timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise PccloraError(f"--scheduler {address}: no Dask scheduler answers there: {error}") from error
    with client:
        threads: dict[str, int] = client.nthreads()  # type: ignore[no-untyped-call]
        if not threads or max(threads.values()) > 1:  # leaves seed torch's global generator
            raise PccloraError(
                f"--scheduler {address}: its workers have {sorted(threads.values())} threads; start workers of one "
                "thread each: dask worker ADDRESS --nthreads 1 --nworkers 2"
            )
        yield len(threads)


@contextmanager
def _ray(address: str) -> Iterator[int]:
    """Connect to a Ray cluster; gives the number of its CPUs."""
    with of_extra("ray", f"--scheduler {address}"):
        import ray
        from ray.util.joblib import register_ray
    try:
        here = address.removeprefix("ray://")
        ray.init(here if here in ("auto", "local") else address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PccloraError(f"--scheduler {address}: no Ray cluster answers there: {error}") from error
    register_ray()
    try:
        yield max(int(ray.cluster_resources().get("CPU", 1)), 1)
    finally:
        ray.shutdown()
