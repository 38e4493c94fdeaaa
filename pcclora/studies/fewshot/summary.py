"""What the finished folds of a few-shot comparison say together: means, spreads, paired differences, tables."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcclora.atomic import write_json, write_text
from pcclora.engine.run_folder import write_rows
from pcclora.metrics.accuracy import spread
from pcclora.metrics.paired import PairedDifference, paired_differences
from pcclora.registry import MODELS
from pcclora.runs.report import WIDTH
from pcclora.studies.fewshot.settings import FewShotRun
from pcclora.studies.fewshot.study import Fold
from pcclora.studies.tables import Table, percent

Records = Mapping[Fold, Mapping[str, Any]]
BEST = "accuracy_best_on_query"
COLUMNS = ("accuracy", "population std", "95 % interval", "trained", "s / fold", "computed once")
LABELS = {"accuracy": "last epoch", BEST: "best epoch chosen on the queries"}


@dataclass(frozen=True)
class MethodResult:
    """One method on the folds of one setting.

    Attributes:
        values: Accuracy of each of its folds, 0 to 1.
        mean: Their mean.
        std: Their sample standard deviation; None for a single fold.
        std_population: Their population standard deviation, which the literature gives.
        half_width: Half of the 95 % confidence interval of the mean.
        trained: Numbers that it trains.
        seconds: Mean time of a fold.
        computed_once: What of a cloud was computed once.
    """

    values: tuple[float, ...]
    mean: float
    std: float | None
    std_population: float
    half_width: float | None
    trained: int
    seconds: float
    computed_once: str


@dataclass(frozen=True)
class SettingResult:
    """One setting.

    Attributes:
        way: Number of classes.
        shot: Support objects of a class.
        figure: Which accuracy, a key of :data:`LABELS`.
        methods: By name; one without a finished fold is left out.
        pairs: Over the folds that every one of these methods has finished.
        missing: Folds that are not finished, of all methods.
    """

    way: int
    shot: int
    figure: str
    methods: dict[str, MethodResult]
    pairs: list[PairedDifference]
    missing: int


def summarize(config: FewShotRun, records: Records) -> list[SettingResult]:
    """Combine the folds, setting by setting, and by figure if the best epoch on the queries was asked for."""
    figures = ["accuracy", *([BEST] if config.selection == "best_on_test" else [])]
    return [_setting(config, records, way, shot, figure) for way, shot in config.settings for figure in figures]


def write_summary(config: FewShotRun, records: Records, output: Path) -> list[SettingResult]:
    """Write folds.csv, pairs.csv, table.md and summary.json; each replaces what an earlier call wrote."""
    results = summarize(config, records)
    header = ["way", "shot", "method", "fold", "accuracy", BEST, "best_epoch_on_query", "trained", "seconds"]
    header += ["computed_once", "episode_sha256"]
    rows = [[_cell(fold, record, column) for column in header] for fold, record in records.items()]
    write_rows(output / "folds.csv", header, rows)
    pairs = [(result, pair) for result in results for pair in result.pairs]
    columns = ["way", "shot", "figure", *PairedDifference.__dataclass_fields__, "more_than_noise"]
    write_rows(
        output / "pairs.csv",
        columns,
        [[r.way, r.shot, r.figure, *asdict(pair).values(), pair.more_than_noise] for r, pair in pairs],
    )
    write_text(output / "table.md", "".join(markdown(result) for result in results))
    write_json(output / "summary.json", _summary(config, results))
    return results


def markdown(result: SettingResult) -> str:
    """Return a setting as a Markdown table, in percent, with the differences of each two methods below it."""
    table = Table(["method", *COLUMNS], [[name, *_cells(held)] for name, held in result.methods.items()])
    names, found = list(result.methods), {(pair.first, pair.second): pair for pair in result.pairs}
    pairs = Table(["minus", *names[:-1]])
    pairs.rows += [[row, *(_difference(found, row, column) for column in names[:-1])] for row in names[1:]]
    differences = pairs.markdown() if result.pairs else ""
    return f"{_title(result)}\n\n{table.markdown()}\n{differences}\n"


def figures_table(config: FewShotRun, results: Sequence[SettingResult]) -> Table:
    """Return one setting as a table with a row for every method, and a row more for each that has a second figure.

    Args:
        config: The comparison, of one number of ways and shots.
        results: From :func:`summarize`.
    """
    found = Table(["setting", *COLUMNS], notes=[f"Protocol: {_protocol(config)}.", "± sample std."])
    for name in config.methods:
        for result in results:
            label = "" if result.figure == "accuracy" else f", {LABELS[result.figure]}"
            held = result.methods.get(name)
            cells = ["missing", *[""] * (len(COLUMNS) - 1)] if held is None else _cells(held)
            found.rows.append([f"{name}{label}", *cells])
    return found


def console(config: FewShotRun, results: Sequence[SettingResult], output: Path) -> str:
    """Return the tables of all settings, at most 80 columns wide, with the protocol that they were made by."""
    line = "─" * WIDTH
    body = "".join(f"{line}\n{_console_setting(result)}" for result in results)
    notes = [
        f"protocol: {_protocol(config)}",
        "± sample std; pop. is the population std, which papers give; interval: 95 %",
    ]
    if any(result.pairs for result in results):
        notes.append(
            "differences: row minus column in points over the same folds; * more than noise: paired t-test, "
            "p < 0.05 after Holm's correction for all pairs of the setting"
        )
    wrapped = "".join("\n".join(textwrap.wrap(note, WIDTH)) + "\n" for note in notes)
    return f"{body}{line}\n{wrapped}folder: {output}\n{line}\n"


def _setting(config: FewShotRun, records: Records, way: int, shot: int, figure: str) -> SettingResult:
    held: dict[str, dict[int, Mapping[str, Any]]] = {name: {} for name in config.methods}
    for fold, record in records.items():
        if (fold.way, fold.shot) == (way, shot) and figure in record:
            held[fold.method][fold.number] = record
    missing = sum(config.folds - len(own) for own in held.values())
    held = {name: own for name, own in held.items() if own}
    common = sorted(set.intersection(*map(set, held.values()))) if held else []
    values = {name: [own[number][figure] for number in common] for name, own in held.items()}
    methods = {name: _method(list(own.values()), figure) for name, own in held.items()}
    return SettingResult(way, shot, figure, methods, paired_differences(values) if common else [], missing)


def _method(records: Sequence[Mapping[str, Any]], figure: str) -> MethodResult:
    found = spread([record[figure] for record in records])
    return MethodResult(
        values=found.values,
        mean=found.mean,
        std=found.std,
        std_population=float(np.std(found.values)),
        half_width=found.half_width,
        trained=records[0]["trained"],
        seconds=float(np.mean([record["seconds"] for record in records])),
        computed_once=records[0]["computed_once"],
    )


def _cells(held: MethodResult) -> list[str]:
    """Return the cells of :data:`COLUMNS`, in percent."""
    interval = "" if held.half_width is None else f"{_low(held):.1f} to {_high(held):.1f}"
    figures = [percent(held.mean, held.std), f"{100 * held.std_population:.1f}", interval]
    return [*figures, f"{held.trained:,}", f"{held.seconds:.1f}", held.computed_once]


def _summary(config: FewShotRun, results: Sequence[SettingResult]) -> dict[str, Any]:
    settings = [
        {
            **asdict(result),
            "figure_means": LABELS[result.figure],
            "pairs": [asdict(pair) | {"more_than_noise": pair.more_than_noise} for pair in result.pairs],
        }
        for result in results
    ]
    return {
        "task": "few-shot classification",
        "data": config.source,
        "model": MODELS.name_of(config.model),
        "checkpoint": config.checkpoint,
        "protocol": _protocol(config),
        "missing": sum(result.missing for result in results),
        "settings": settings,
    }


def _console_setting(result: SettingResult) -> str:
    wide = min(max([len(name) for name in result.methods] or [6]), 18)
    lines = [_title(result), f"{'method':<{wide}}  accuracy (%)   pop.  interval      trained  s/fold  once"]
    for name, held in result.methods.items():
        std = "" if held.std is None else f"± {100 * held.std:4.1f}"
        interval = "" if held.half_width is None else f"{_low(held):5.1f}-{_high(held):.1f}"
        lines.append(
            f"{name[:wide]:<{wide}}  {100 * held.mean:5.1f} {std:<7} {100 * held.std_population:5.1f}  {interval:<11} "
            f"{held.trained:>9,}  {held.seconds:>6.1f}  {held.computed_once.removesuffix('s')}"
        )
    return "\n".join([*lines, *_matrix(result, wide)]) + "\n"


def _matrix(result: SettingResult, wide: int) -> list[str]:
    """Return the differences of each two methods; only as many columns as fit."""
    found, names = {(pair.first, pair.second): pair for pair in result.pairs}, list(result.methods)
    if not found:
        return []
    columns = names[: min(len(names) - 1, (WIDTH - wide - 3) // 8)]
    lines = ["", " " * (wide + 3) + "".join(f"{place:>8}" for place in range(1, len(columns) + 1))]
    for place, row in enumerate(names, 1):
        cells = "".join(f"{_difference(found, row, column):>8}" for column in columns)
        lines.append(f"{place:>2} {row[:wide]:<{wide}}{cells}".rstrip())
    return lines


def _difference(found: Mapping[tuple[str, str], PairedDifference], row: str, column: str) -> str:
    pair = found.get((column, row))
    if pair is None:
        return ""
    points = round(-100 * pair.mean, 1) or 0.0  # no -0.0
    return f"{points:+.1f}{'*' if pair.more_than_noise else ''}"


def _title(result: SettingResult) -> str:
    folds = max((len(held.values) for held in result.methods.values()), default=0)
    missing = f", {result.missing} folds of methods missing" if result.missing else ""
    return f"{result.way}-way {result.shot}-shot, {folds} folds, {LABELS[result.figure]}{missing}"


def _protocol(config: FewShotRun) -> str:
    runs = [config.method(name) for name in config.methods]
    trained = [run for run in runs if run.classifier == "trained"]
    kinds = {
        "augmentation": sorted({run.augmentation for run in trained}),
        "epochs": sorted({str(run.train.epochs) for run in trained}),
    }
    words = [f"{config.source}, {MODELS.name_of(config.model)}, {config.points} points"]
    words += [f"{key} {', '.join(values)}" for key, values in kinds.items() if values]
    words += [
        f"queries from '{config.query_split}', {config.query} a class" if not config.episodes else "episodes of files"
    ]
    return "; ".join([*words, f"seed {config.seed}"])


def _cell(fold: Fold, record: Mapping[str, Any], column: str) -> object:
    own = {"way": fold.way, "shot": fold.shot, "method": fold.method, "fold": fold.number}
    value = own.get(column, record.get(column, ""))
    return f"{value:.6f}" if isinstance(value, float) else value


def _low(held: MethodResult) -> float:
    return 100 * max(held.mean - (held.half_width or 0), 0)


def _high(held: MethodResult) -> float:
    return 100 * min(held.mean + (held.half_width or 0), 1)
