"""Settings side by side: the same run with several seeds for each, as a table that says how to make each row again.

A finished seed is never trained again, and a setting that did not finish stays in the table, marked missing.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcclora.config import load_config
from pcclora.engine.run_folder import RunFolder
from pcclora.engine.seeds import holds_seeds, resume_seeds, train_seeds
from pcclora.engine.settings import ClassificationRun
from pcclora.errors import PccloraError

COLUMNS = ("setting", "accuracy", "mean class acc.", "trained", "GMACs", "lit. GMACs", "s / epoch", "file", "options")


@dataclass
class Comparison:
    """What a YAML file in ``configs/results/`` holds.

    Attributes:
        config: The configuration that all settings start from.
        seeds: Of each setting's runs.
        options: ``key=value`` for all settings.
        settings: Name of a setting -> its own ``key=value``.
    """

    config: str = ""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    options: list[str] = field(default_factory=list)
    settings: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a comparison of nothing."""
        if not self.config or not self.settings:
            raise PccloraError("a comparison needs a config and settings")

    def run(self, name: str, extra: list[str]) -> ClassificationRun:
        """Return the run of one setting, with further options."""
        return load_config(ClassificationRun, file=self.config, overrides=[*self.options, *self.settings[name], *extra])


def compare(comparison: Comparison, output: Path, *, options: list[str], jobs: int = 1) -> None:
    """Train every setting that is not finished.

    Args:
        comparison: What to train.
        output: A folder that takes one folder a setting; what is finished there stays.
        options: Further ``key=value`` for all settings, as ``data.root=DATA``.
        jobs: Settings trained at the same time, sharing the threads.

    Raises:
        PccloraError: If a setting cannot be trained; those that are finished stay.
    """
    import torch
    from joblib import Parallel, delayed

    runs = {name: comparison.run(name, options) for name in comparison.settings}  # a wrong one shows before any trains
    threads = max(torch.get_num_threads() // jobs, 1)
    tasks = (delayed(_train)(run, comparison.seeds, folder_of(output, name), threads) for name, run in runs.items())
    Parallel(n_jobs=jobs)(tasks)


def table(comparison: Comparison, output: Path) -> str:
    """Return the settings as a Markdown table: mean ± sample std over the seeds, in percent."""
    rows = [_row(name, comparison.settings[name], folder_of(output, name)) for name in comparison.settings]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def folder_of(output: Path, name: str) -> Path:
    """Return the folder of one setting."""
    return output / re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _train(run: ClassificationRun, seeds: list[int], folder: Path, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    if not holds_seeds(folder):
        train_seeds(run, folder, seeds=seeds)
    elif not RunFolder(folder).finished:
        resume_seeds(folder)


def _row(name: str, options: list[str], folder: Path) -> list[str]:
    if not RunFolder(folder).finished:
        return [name, "missing", *[""] * (len(COLUMNS) - 3), f"`{' '.join(options)}`"]
    summary = RunFolder(folder).read_summary()
    metrics, gmacs = summary["metrics"], summary["gmacs"]
    return [
        name,
        _percent(metrics, "accuracy"),
        _percent(metrics, "mean_class_accuracy"),
        f"{summary['parameters']['trained']:,}",
        f"{gmacs['total']:.4f}",
        f"{gmacs['literature']:.4f}",
        f"{summary['seconds_per_epoch']['mean']:.1f}",
        f"{summary['adapter_bytes'] / 1000:.0f} kB",
        f"`{' '.join(options)}`",
    ]


def _percent(metrics: dict[str, Any], name: str) -> str:
    """Return the one metric that ``name`` is the beginning of; a selection on the test set shows in its name."""
    ((found, value),) = [(key, value) for key, value in metrics.items() if key.startswith(name) and "votes" not in key]
    label = "" if found == name else f" ({found.removeprefix(name).strip('_').replace('_', ' ')})"
    return f"{100 * value['mean']:.1f} ± {100 * (value['std'] or 0):.1f}{label}"
