"""The same run with several seeds, each in its own folder, and what they say together.

Several may be trained at once. A finished seed is never run again.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pcclora.atomic import read_json, refuse_existing, write_json
from pcclora.config import LARGEST_SEED, to_yaml
from pcclora.engine.environment import is_main_process, make_accelerator
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.metrics.accuracy import spread
from pcclora.paths import is_file
from pcclora.runs.adapt import train
from pcclora.runs.build import anchored
from pcclora.runs.prepare import prepare
from pcclora.runs.splits import load_splits
from pcclora.studies.runner import HERE, Leaf, Outcome, Workers, begin_study, holds_study, run_leaves
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import AdaptationRun

AVERAGED = ("train_seconds", "seconds_per_epoch", "peak_memory_mb")


def train_seeds(config: AdaptationRun, output: Path, *, seeds: Sequence[int], workers: Workers = HERE) -> Outcome:
    """Train one run a seed in ``output/seed_<n>`` and write mean and spread to ``output/summary.json``.

    Args:
        config: The run; its own seed is not used.
        output: A new folder, or one that was begun with the same run and seeds; to go on with any other use
            :func:`resume_seeds`.
        seeds: At least one; each once.
        workers: Who trains them.

    Returns:
        What is left to other shards; the summary is written once nothing is.

    Raises:
        PccloraError: If the folder holds something else, the seeds cannot be used, or some of the runs failed.
    """
    if not seeds or len(set(seeds)) < len(seeds) or not 0 <= min(seeds) <= max(seeds) <= LARGEST_SEED:
        words = " ".join(map(str, seeds))
        raise PccloraError(f"--seeds {words}: give each seed once, from 0 to {LARGEST_SEED}")
    begin_seeds(config, output, seeds)
    return resume_seeds(output, workers=workers)


def resume_seeds(output: Path, *, seeds: Sequence[int] = (), workers: Workers = HERE) -> Outcome:
    """Go on with what :func:`train_seeds` began: finished seeds stay, others are resumed or begun.

    Args:
        output: The folder.
        seeds: More seeds, beside those it was begun with.
        workers: Who trains them.

    Returns:
        What is left to other shards; the summary is written once nothing is.

    Raises:
        PccloraError: If the folder was not made by :func:`train_seeds`, or some of the runs failed.
    """
    outcome = run_leaves(seed_leaves(output, add_seeds(output, seeds)), workers)
    outcome.refuse_failures(f"--resume {output}")
    if outcome.complete:
        write_seeds_summary(output)
    return outcome


def begin_seeds(config: AdaptationRun, output: Path, seeds: Sequence[int]) -> None:
    """Make the folder of several seeds, or join the one that was begun with the same run and seeds.

    Raises:
        PccloraError: If something else is there, or anything that the run needs cannot be used.
    """
    config = anchored(config)
    files = {"config.yaml": to_yaml(config), "seeds.json": {"seeds": list(seeds)}}
    accelerator = make_accelerator(config.train)
    if accelerator.is_main_process and not holds_study(output, files):
        refuse_existing(output)
    prepare(config, accelerator, load_splits(config))  # what is wrong shows before a folder is made for it
    if accelerator.is_main_process:
        begin_study(output, files)
    accelerator.wait_for_everyone()


def add_seeds(output: Path, more: Sequence[int]) -> list[int]:
    """Return the seeds of a folder that was begun, after adding to them.

    Raises:
        PccloraError: If seeds.json is absent or damaged.
    """
    begun = _begun(output / "seeds.json")
    seeds = list(dict.fromkeys([*begun, *more]))
    if seeds != begun and is_main_process():
        write_json(output / "seeds.json", {"seeds": seeds})
    return seeds


def seed_leaves(output: Path, seeds: Sequence[int], *, prefix: str = "") -> list[Leaf]:
    """Return the runs of a folder that was begun.

    Args:
        output: The folder.
        seeds: Of the runs.
        prefix: Of their names.
    """
    return [
        Leaf(f"{prefix}seed {seed}", RunFolder(output / f"seed_{seed}").summary, partial(train_seed, output, seed))
        for seed in seeds
    ]


def train_seed(output: Path, seed: int) -> Path:
    """Begin or go on with the run of one seed, and return its folder."""
    config = load_run_config(output / "config.yaml", [f"seed={seed}"])
    folder = output / f"seed_{seed}"
    return train(config, folder, resume=(folder / "config.yaml").is_file()).path


def write_seeds_summary(output: Path) -> None:
    """Write summary.json of runs that are all finished, if this is the process that writes."""
    if not is_main_process():
        return
    folders = [output / f"seed_{seed}" for seed in _begun(output / "seeds.json")]
    write_json(output / "summary.json", summarize_seeds([RunFolder(folder).read_summary() for folder in folders]))


def holds_seeds(folder: Path) -> bool:
    """Whether a folder was made by :func:`train_seeds`."""
    return is_file(folder / "seeds.json")


def summarize_seeds(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Combine the summaries of runs that differ in their seed: each number becomes mean, std, half_width, values.

    ``std`` is the sample standard deviation, ``half_width`` half of the 95 % confidence interval of the mean.
    """
    first = summaries[0]
    combined = {
        key: value
        for key, value in first.items()
        if key not in ("selected_epoch", "category_parts", "calibration", *AVERAGED)
    }
    combined["metrics"] = {key: asdict(spread([s["metrics"][key] for s in summaries])) for key in first["metrics"]}
    combined |= {key: asdict(spread([s[key] for s in summaries])) for key in AVERAGED}
    if "categories" in first:
        combined["categories"] = {
            name: held | {"iou": asdict(spread([s["categories"][name]["iou"] for s in summaries]))}
            for name, held in first["categories"].items()
        }
    protocols = [s["protocol"] for s in summaries]
    combined["protocol"] = first["protocol"] | {"seed": [p["seed"] for p in protocols]}
    if any("stopped_after" in p for p in protocols):
        combined["protocol"]["stopped_after"] = [p.get("stopped_after", p["epochs"]) for p in protocols]
    return combined


def _begun(path: Path) -> list[int]:
    held, remedy = read_json(path), 'write {"seeds": [0, 1, 2]} there, of the seeds that were begun'
    check_form(held, {"seeds": [int]}, path, remedy=remedy)
    seeds: list[int] = held["seeds"]
    if not seeds or min(seeds) < 0:
        raise PccloraError(f"{path}: seeds are {seeds}; {remedy}")
    return seeds
