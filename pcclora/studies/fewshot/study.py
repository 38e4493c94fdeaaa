"""Methods side by side on the same few-shot folds, several at once, each fold once.

::

    config.yaml      the resolved comparison; reading it gives the same one
    versions.json    interpreter, libraries, machine
    data.json        every object that episodes are drawn from, or are made of: name, class, digest of its content
    folds/5way_10shot/<method>/<fold>.json   one finished fold: accuracy, answers, the whole episode
    folds.csv, pairs.csv, summary.json, table.md, folds.png   what they say together

A fold's file is there whole or not at all, and a fold that has one is never run again. A process that stays alive pays
for its imports and data once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pcclora.atomic import make_folder, read_json, write_json, write_text
from pcclora.config import from_dict, to_dict, to_yaml
from pcclora.engine.data_record import FILE, DataRecord, Object, objects_of, refuse_changes
from pcclora.engine.environment import compare_environment, describe_environment, make_accelerator, single_process
from pcclora.engine.lock import locked
from pcclora.engine.machine import check_machine
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.paths import file_sha256, is_file
from pcclora.runs.build import base_checkpoint
from pcclora.runs.splits import read_record
from pcclora.studies.comparison import home_of
from pcclora.studies.fewshot.fold import check_method, episode_sources, load_episode, run_fold, settle_queries
from pcclora.studies.fewshot.settings import FewShotRun, load_fewshot
from pcclora.studies.runner import Leaf, Outcome, Workers, begin_study, holds_study, run_leaves

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
        return home_of(output / "folds" / f"{self.way}way_{self.shot}shot", self.method) / f"{self.number}.json"


def begin(config: FewShotRun, output: Path) -> FewShotRun:
    """Make the folder of a comparison, once it is known that each method can be run, or join the same one there.

    Returns:
        The comparison, with the number of queries that the data give where it does not say one.

    Raises:
        PccloraError: If something else is there, or anything that the comparison needs cannot be used.
    """
    config = settle_queries(config)
    files = {"config.yaml": to_yaml(config)}
    if holds_study(output, files):
        reopen(output)
        return config
    _check(config)
    record = _record(config)

    def describe(folder: Path) -> None:
        record.write(folder / FILE)
        environment = describe_environment(make_accelerator(config.train))
        write_json(folder / "versions.json", environment | {"base_sha256": _base_sha256(config)})

    begin_study(output, files, describe)
    return config


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


def run_folds(config: FewShotRun, output: Path, workers: Workers, *, save_adapters: bool = False) -> Outcome:
    """Run every fold that is not finished.

    Args:
        config: The comparison.
        output: Its folder, which :func:`begin` made.
        workers: Who runs them.
        save_adapters: Keep each fold's trained adapter beside its file.

    Returns:
        The folds that failed, and why, and those that are left to other shards.

    Raises:
        PccloraError: If there are no such workers, or one of them dies; what is finished stays.
    """
    if not single_process():
        raise PccloraError("folds are parallel already; leave out accelerate launch and use --jobs")
    methods = {name: json.dumps(to_dict(config.method(name))) for name in config.methods}
    leaves = [
        Leaf(str(fold), fold.file(output), partial(_run_fold, fold, methods[fold.method], output, save_adapters))
        for fold in folds_of(config)
    ]
    with locked(output, shared=workers.shard != (1, 1)):
        return run_leaves(leaves, workers, title="folds", unit="fold")


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
    check_machine(config.train, make_accelerator(config.train).device)
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
    return sorted(file_sha256(path) for path in paths if path is not None)


def _run_fold(fold: Fold, method: str, output: Path, save_adapters: bool) -> None:
    file = fold.file(output)
    make_folder(file.parent)
    adapter = file.with_suffix("") if save_adapters else None
    write_json(file, run_fold(_method(method), fold.way, fold.shot, fold.number, adapter=adapter))


@lru_cache(maxsize=32)
def _method(text: str) -> FewShotRun:
    return from_dict(FewShotRun, json.loads(text), source="method")
