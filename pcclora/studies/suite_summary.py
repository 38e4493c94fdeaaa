"""What the tasks of a suite say together: a table with the means of its groups."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pcclora.atomic import write_json, write_text
from pcclora.engine.run_folder import RunFolder
from pcclora.metrics.accuracy import spread
from pcclora.runs.report import adapter_of, describe_choice, label_of, protocol_of, weights_of
from pcclora.studies.suite import SUITES
from pcclora.studies.tables import Table, percent

GROUPS = "mean of the groups"
HEADINGS = ("task", "group", "test images", "accuracy (%)", "settings")


def write_suite_summary(output: Path, runs: Mapping[str, Path]) -> str:
    """Write summary.json and table.md into a suite's folder and return the table.

    Args:
        output: The folder.
        runs: Task -> the folder of its final run, or of its seeds: from :func:`~pcclora.studies.suite.run_suite`.
    """
    held = {task: RunFolder(folder).read_summary() for task, folder in runs.items()}
    summary = summarize_suite(held) | {"runs": {task: str(run.relative_to(output)) for task, run in runs.items()}}
    write_json(output / "summary.json", summary)
    table = suite_table(summary)
    write_text(output / "table.md", table)
    return table


def summarize_suite(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Combine the summaries of the final runs of several tasks.

    Args:
        summaries: Task -> summary of a run, or of several seeds of it.

    Returns:
        Each task's figure, the mean of each group whose tasks are all there and, if all are, the mean of the group
        means, as papers on VTAB-1K report it, and the mean of the tasks. Mean and spread are over the seeds.
    """
    first = next(iter(summaries.values()))
    figure = next(iter(first["metrics"]))
    values = {task: _values(held["metrics"][figure]) for task, held in summaries.items()}
    dataset = first["data"].partition("/")[0]
    table = SUITES[dataset]
    groups: dict[str, Sequence[float]] = {}
    for group in dict.fromkeys(task.group for task in table.values()):
        members = [task for task, held in table.items() if held.group == group]
        if all(task in values for task in members):
            groups[group] = _mean([values[task] for task in members])
    several = len({held.group for held in table.values()}) > 1  # a single group is all there is
    means = {group: asdict(spread(own)) for group, own in groups.items() if several}
    if len(values) == len(table):
        if several:
            means[GROUPS] = asdict(spread(_mean(list(groups.values()))))
        means[f"mean of the {len(table)} tasks"] = asdict(spread(_mean(list(values.values()))))
    return {
        **{key: first[key] for key in ("task", "model", "checkpoint", "checkpoint_sha256", "adapter")},
        "data": dataset,
        "protocol": first["protocol"],
        "figure": figure,
        "tasks": {task: _task(held, table[task].group, values[task]) for task, held in summaries.items()},
        "means": means,
    }


def suite_table(summary: Mapping[str, Any]) -> str:
    """Return a suite's summary as a Markdown table, with what the numbers were made by below it."""
    rows: list[Sequence[str]] = []
    for task, held in summary["tasks"].items():
        chosen = " ".join(held["search"]["chosen"]) if held["search"] else "as given"
        rows.append([task, held["group"], f"{held['test']:,}", _percent(held["spread"]), f"`{chosen}`"])
    rows += [[f"**{name}**", "", "", f"**{_percent(held)}**", ""] for name, held in summary["means"].items()]
    searches = [held["search"] for held in summary["tasks"].values() if held["search"]]
    notes = [
        f"{label_of(summary['figure'])}; {summary['model']}, weights: {weights_of(summary)}; "
        f"adapter: {adapter_of(summary['adapter'])}",
        f"protocol: {protocol_of(summary)}",
        *(f"settings: {own}" for own in dict.fromkeys(describe_choice(held, point=False) for held in searches)),
    ]
    return Table(HEADINGS, rows, [f"{note[0].upper()}{note[1:]}." for note in notes]).markdown()


def suites_table(suites: Mapping[str, Mapping[str, Any]], tasks: Sequence[str]) -> Table:
    """Return several suites side by side: a row a setting, a column a task and a mean.

    Args:
        suites: Setting -> what :func:`summarize_suite` returns; empty where no task is finished.
        tasks: The columns.
    """
    means = dict.fromkeys(name for held in suites.values() for name in held.get("means", ()))
    found = Table(["setting", *tasks, *map(_short, means), "trained"])
    said: dict[str, None] = {}
    for name, held in suites.items():
        if not held:
            found.rows.append([name, "missing", *[""] * (len(found.headings) - 2)])
            continue
        own = {task: of["spread"] for task, of in held["tasks"].items()} | held["means"]
        figures = [_percent(own[column]) if column in own else "" for column in (*tasks, *means)]
        counts = {of["trained"] for of in held["tasks"].values()}
        trained = " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))
        found.rows.append([name, *figures, f"{trained} + head"])
        said[f"{held['model']}, weights: {weights_of(held)}; {protocol_of(held)}."] = None
    found.notes = list(said)
    return found


def _short(mean: str) -> str:
    """Return a mean as papers on VTAB-1K name it: mean3 is over the groups, mean19 over the tasks."""
    return {GROUPS: "mean3"}.get(mean, mean.replace("mean of the ", "mean").removesuffix(" tasks"))


def _task(summary: Mapping[str, Any], group: str, values: Sequence[float]) -> dict[str, Any]:
    counts = {"train": summary["samples"]["train"], "test": summary["samples"]["test"]}
    counts["trained"] = summary["parameters"]["trained"] - summary["parameters"].get("head", 0)
    return {"group": group, **counts, "spread": asdict(spread(values)), "search": summary.get("search")}


def _values(metric: Any) -> Sequence[float]:
    return list(metric["values"]) if isinstance(metric, Mapping) else [metric]


def _mean(of_tasks: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over the tasks for each seed."""
    return [float(value) for value in np.mean(np.array(of_tasks), axis=0)]


def _percent(held: Mapping[str, Any]) -> str:
    return percent(held["mean"], held["std"])
