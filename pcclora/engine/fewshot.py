"""Methods side by side on the same few-shot folds, several at once, each fold once.

::

    config.yaml      the resolved comparison; reading it gives the same one
    versions.json    interpreter, libraries, machine
    data.json        every object that episodes are drawn from, or are made of: name, class, digest of its content
    folds/5way_10shot/<method>/<fold>.json   one finished fold: accuracy, answers, the whole episode
    folds.csv, pairs.csv, summary.json, table.md, folds.png   what they say together

A fold's file is there whole or not at all, and a fold that has one is never run again. ``joblib`` runs the folds, in
processes of this machine or on a Dask cluster; a process that stays alive pays for its imports and data once.
"""

import hashlib
import json
import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pcclora.atomic import creating_folder, make_folder, read_json, write_json, write_text
from pcclora.config import from_dict, to_dict, to_yaml
from pcclora.engine import console
from pcclora.engine.comparison import folder_of
from pcclora.engine.data_record import FILE, DataRecord, Object, objects_of, refuse_changes
from pcclora.engine.environment import compare_environment, describe_environment, make_accelerator, single_process
from pcclora.engine.fewshot_fold import check_method, episode_sources, load_episode, run_fold
from pcclora.engine.fewshot_settings import FewShotRun, load_fewshot
from pcclora.engine.lock import locked
from pcclora.engine.splits import read_record
from pcclora.engine.training import base_checkpoint
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.paths import is_file
from pcclora.registry import load_plugin

logger = logging.getLogger(__name__)
_FOLD = {
    "way": int,
    "shot": int,
    "fold": int,
    "accuracy": float,
    "trained": int,
    "seconds": float,
    "computed_once": str,
    "episode_sha256": str,
    "best_epoch_on_query?": int,
    "accuracy_best_on_query?": float,
}


@dataclass(frozen=True)
class Fold:
    """One fold of one method.

    Attributes:
        way: Number of classes.
        shot: Support objects of a class.
        method: Its name.
        number: Which episode.
    """

    way: int
    shot: int
    method: str
    number: int

    def __str__(self) -> str:
        """Name it as the console does."""
        return f"{self.way}-way {self.shot}-shot, {self.method}, fold {self.number}"

    def file(self, output: Path) -> Path:
        """Return where it is written down."""
        return folder_of(output / "folds" / f"{self.way}way_{self.shot}shot", self.method) / f"{self.number}.json"


@dataclass(frozen=True)
class Workers:
    """Who runs the folds.

    Attributes:
        jobs: Processes of this machine, which share its threads; 0 is one a core, or one where there is a GPU.
        scheduler: Address of a Dask scheduler whose workers are used instead; each must have one thread and see the
            same folders.
        plugins: Files that each of them must run first.

    Raises:
        PccloraError: If ``jobs`` is below 0.
    """

    jobs: int = 0
    scheduler: str = ""
    plugins: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.jobs < 0:
            raise PccloraError(f"--jobs {self.jobs}: choose 1 or more, or 0 for one a core")


def begin(config: FewShotRun, output: Path) -> None:
    """Make the folder of a comparison, once it is known that each method can be run.

    Raises:
        PccloraError: If something is there already, or anything that the comparison needs cannot be used.
    """
    _check(config)
    record = _record(config)
    with creating_folder(output) as temporary:
        record.write(temporary / FILE)
        write_text(temporary / "config.yaml", to_yaml(config))
        environment = describe_environment(make_accelerator(config.train))
        write_json(temporary / "versions.json", environment | {"base_sha256": _base_sha256(config)})


def reopen(output: Path, overrides: Sequence[str] = (), *, folds: int | None = None) -> FewShotRun:
    """Return the comparison that :func:`begin` began in a folder.

    Args:
        output: The folder.
        overrides: Where the checkpoint is now, ``checkpoint=FILE``, if it has moved.
        folds: More folds than it was begun with.

    Raises:
        PccloraError: If it is no such folder, or the base weights or the data are other ones.
    """
    if not is_file(output / "config.yaml") or not is_file(output / "versions.json"):
        raise PccloraError(f"{output}: not the folder of a few-shot comparison (no config.yaml and versions.json)")
    config = load_fewshot(output / "config.yaml", overrides)
    then = read_json(output / "versions.json")
    if then.get("base_sha256") != _base_sha256(config):
        raise PccloraError(f"{output}: begun with other base weights than those of {config.checkpoint} now")
    if (data := read_record(output)) is not None:
        refuse_changes(data, _record(config), output)
    compare_environment(then, make_accelerator(config.train))
    if folds is not None and folds < config.folds:
        raise PccloraError(f"--folds {folds}: it was begun with {config.folds}; give more, or leave it out")
    if folds is not None and folds > config.folds:
        config = replace(config, folds=folds)
        _check(config)
        _record(config).write(output / FILE)
        write_text(output / "config.yaml", to_yaml(config))
    return config


def run_folds(config: FewShotRun, output: Path, workers: Workers, *, save_adapters: bool = False) -> dict[Fold, str]:
    """Run every fold that is not finished.

    Args:
        config: The comparison.
        output: Its folder, which :func:`begin` made.
        workers: Who runs them.
        save_adapters: Keep each fold's trained adapter beside its file.

    Returns:
        The folds that failed, and why; the others are finished.

    Raises:
        PccloraError: If there are no such workers, or one of them dies; what is finished stays.
    """
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError
    from tqdm import tqdm

    methods = {name: json.dumps(to_dict(config.method(name))) for name in config.methods}
    waiting = [fold for fold in folds_of(config) if not fold.file(output).is_file()]
    failed: dict[Fold, str] = {}
    with locked(output), _joblib(workers, len(waiting)) as (jobs, threads):
        plugins = tuple(str(path.resolve()) for path in workers.plugins)
        tasks = (delayed(_one)(f, methods[f.method], output, plugins, threads, save_adapters) for f in waiting)
        results = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(tasks)
        bar = {"total": len(waiting), "desc": "folds", "unit": "fold", "disable": None, "dynamic_ncols": True}
        try:
            for fold, error in tqdm(results, **bar):
                if error:
                    failed[fold] = error
                    logger.error("failed: %s: %s", fold, error)
        except TerminatedWorkerError as error:
            raise PccloraError(
                f"a process that ran folds died, perhaps of memory; --resume {output}: {error}"
            ) from error
    return failed


def folds_of(config: FewShotRun) -> list[Fold]:
    """Return every fold of a comparison, in the order in which they are begun."""
    return [
        Fold(way, shot, method, number)
        for way, shot in config.settings
        for number in range(config.folds)
        for method in config.methods
    ]


def read_folds(config: FewShotRun, output: Path) -> dict[Fold, dict[str, Any]]:
    """Return what is written down of the finished folds.

    Raises:
        PccloraError: If a file is damaged, or methods met different episodes.
    """
    records = {fold: _read_fold(fold, file) for fold in folds_of(config) if (file := fold.file(output)).is_file()}
    episodes: dict[tuple[int, int, int], str] = {}
    for fold, record in records.items():
        digest = episodes.setdefault((fold.way, fold.shot, fold.number), record["episode_sha256"])
        if record["episode_sha256"] != digest:
            raise PccloraError(
                f"{fold.file(output)}: its episode is not that of the other methods; were the data changed?"
            )
    return records


def _read_fold(fold: Fold, file: Path) -> dict[str, Any]:
    record, remedy = read_json(file), "delete it, and --resume runs the fold again"
    check_form(record, _FOLD, file, remedy=remedy)
    if (record["way"], record["shot"], record["fold"]) != (fold.way, fold.shot, fold.number):
        raise PccloraError(f"{file}: is of another fold; {remedy}")
    return record


def _check(config: FewShotRun) -> None:
    """Refuse what cannot work: whether there are enough classes and objects is the same for every fold drawn."""
    for way, shot in config.settings:
        for number in range(config.folds if config.episodes else 1):
            episode = load_episode(config, way, shot, number)
    for name in config.methods:
        check_method(config.method(name), episode)


def _record(config: FewShotRun) -> DataRecord:
    """Return what the episodes are drawn from; of episodes that are read, what they are made of."""
    if not config.episodes:
        return DataRecord.of(episode_sources(config))
    sides: dict[str, tuple[Object, ...]] = {}
    for way, shot in config.settings:
        for number in range(config.folds):
            episode = load_episode(config, way, shot, number)
            for part in (episode.support, episode.query):
                sides[f"{way}way_{shot}shot/{number} {part.split}"] = objects_of(part)
    return DataRecord((), None, sides)


def _base_sha256(config: FewShotRun) -> list[str]:
    """Return what tells the base weights of all methods from others."""
    paths = {base_checkpoint(config.method(name)) for name in config.methods} - {None}
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path is not None)


def _one(
    fold: Fold, method: str, output: Path, plugins: tuple[str, ...], threads: int | None, save_adapters: bool
) -> tuple[Fold, str | None]:
    import torch

    try:
        if threads is not None:
            console.prepare_worker()
            torch.set_num_threads(threads)
            _load_plugins(plugins)
        file = fold.file(output)
        make_folder(file.parent)
        adapter = file.with_suffix("") if save_adapters else None
        write_json(file, run_fold(_method(method), fold.way, fold.shot, fold.number, adapter=adapter))
    except PccloraError as error:
        return fold, str(error)
    except Exception as error:  # of whatever kind: the other folds go on, and this one is named
        at = traceback.extract_tb(error.__traceback__)[-1]
        return fold, f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
    return fold, None


@lru_cache(maxsize=32)
def _method(text: str) -> FewShotRun:
    return from_dict(FewShotRun, json.loads(text), source="method")


@lru_cache(maxsize=1)
def _load_plugins(plugins: tuple[str, ...]) -> None:
    """Run plugins, once, in a process that knows nothing of its parent's."""
    for plugin in plugins:
        load_plugin(plugin)


@contextmanager
def _joblib(workers: Workers, folds: int) -> Iterator[tuple[int, int | None]]:
    """Set joblib up; gives the number of jobs, and the threads of each, None where the folds run in this process."""
    import torch
    from joblib import cpu_count, parallel_config

    if not single_process():
        raise PccloraError(
            "accelerate launch: folds are parallel already; start tools/fewshot.py by itself, with --jobs"
        )
    if workers.scheduler:
        with _dask(workers.scheduler) as count, parallel_config(backend="dask"):
            yield count, 1
        return
    jobs = workers.jobs or (1 if torch.accelerator.is_available() else cpu_count())
    jobs = max(min(jobs, folds), 1)
    yield jobs, max(torch.get_num_threads() // jobs, 1) if jobs > 1 else None


@contextmanager
def _dask(address: str) -> Iterator[int]:
    try:
        from distributed import Client
    except ImportError as error:
        raise PccloraError(f"--scheduler {address}: needs Dask; pip install 'pcclora[dask]'") from error
    try:
        client = Client(address, timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise PccloraError(f"--scheduler {address}: no Dask scheduler answers there: {error}") from error
    with client:
        threads: dict[str, int] = client.nthreads()  # type: ignore[no-untyped-call]
        if not threads or max(threads.values()) > 1:  # folds seed torch's global generator
            raise PccloraError(
                f"--scheduler {address}: its workers have {sorted(threads.values())} threads; start workers of one "
                "thread each: dask worker ADDRESS --nthreads 1 --nworkers 2"
            )
        yield len(threads)
