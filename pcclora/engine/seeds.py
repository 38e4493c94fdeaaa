"""The same run with several seeds, each in its own folder, and what they say together.

Several may be trained at once. A finished seed is never run again.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pcclora.atomic import creating_folder, read_json, refuse_existing, write_json, write_text
from pcclora.config import LARGEST_SEED, to_yaml
from pcclora.engine.environment import is_main_process, make_accelerator
from pcclora.engine.parallel import call_at_once, check_jobs
from pcclora.engine.run_folder import RunFolder
from pcclora.engine.settings import AdaptationRun
from pcclora.engine.splits import load_splits
from pcclora.engine.tasks import load_run_config
from pcclora.engine.training import anchored, prepare, train
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.metrics.accuracy import spread
from pcclora.paths import is_file

AVERAGED = ("train_seconds", "seconds_per_epoch", "peak_memory_mb")


def train_seeds(
    config: AdaptationRun, output: Path, *, seeds: Sequence[int], jobs: int = 1, plugins: Sequence[Path] = ()
) -> Path:
    """Train one run a seed in ``output/seed_<n>`` and write mean and spread to ``output/summary.json``.

    Args:
        config: The run; its own seed is not used.
        output: A new folder; to go on with an interrupted one use :func:`resume_seeds`.
        seeds: At least one; each once.
        jobs: Processes that train at the same time and share the threads.
        plugins: Files that such a process must run first.

    Returns:
        ``output``.

    Raises:
        PccloraError: If the folder holds something, or the seeds cannot be used.
    """
    if not seeds or len(set(seeds)) < len(seeds) or not 0 <= min(seeds) <= max(seeds) <= LARGEST_SEED:
        words = " ".join(map(str, seeds))
        raise PccloraError(f"--seeds {words}: give each seed once, from 0 to {LARGEST_SEED}")
    check_jobs(jobs)
    config = anchored(config)
    accelerator = make_accelerator(config.train)
    if accelerator.is_main_process:
        refuse_existing(output)
    prepare(config, accelerator, load_splits(config))  # what is wrong shows before a folder is made for it
    if accelerator.is_main_process:
        with creating_folder(output) as temporary:
            write_text(temporary / "config.yaml", to_yaml(config))
            write_json(temporary / "seeds.json", {"seeds": list(seeds)})
    accelerator.wait_for_everyone()
    return resume_seeds(output, jobs=jobs, plugins=plugins)


def resume_seeds(output: Path, *, seeds: Sequence[int] = (), jobs: int = 1, plugins: Sequence[Path] = ()) -> Path:
    """Go on with what :func:`train_seeds` began: finished seeds stay, others are resumed or begun.

    Args:
        output: The folder.
        seeds: More seeds, beside those it was begun with.
        jobs: Processes that train at the same time and share the threads.
        plugins: Files that such a process must run first.

    Returns:
        ``output``.

    Raises:
        PccloraError: If the folder was not made by :func:`train_seeds`, or a seed's run cannot go on.
    """
    check_jobs(jobs)
    all_seeds = list(dict.fromkeys([*_begun(output / "seeds.json"), *seeds]))
    if is_main_process():
        write_json(output / "seeds.json", {"seeds": all_seeds})
    folders = call_at_once([partial(_one_seed, output, seed) for seed in all_seeds], jobs=jobs, plugins=plugins)
    if is_main_process():
        write_json(output / "summary.json", summarize_seeds([RunFolder(f).read_summary() for f in folders]))
    return output


def holds_seeds(folder: Path) -> bool:
    """Whether a folder was made by :func:`train_seeds`."""
    return is_file(folder / "seeds.json")


def summarize_seeds(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Combine the summaries of runs that differ in their seed: each number becomes mean, std, half_width, values.

    ``std`` is the sample standard deviation, ``half_width`` half of the 95 % confidence interval of the mean.
    """
    first = summaries[0]
    combined = {key: value for key, value in first.items() if key not in ("selected_epoch", *AVERAGED)}
    combined["metrics"] = {key: asdict(spread([s["metrics"][key] for s in summaries])) for key in first["metrics"]}
    combined |= {key: asdict(spread([s[key] for s in summaries])) for key in AVERAGED}
    if "categories" in first:
        combined["categories"] = {
            name: held | {"iou": asdict(spread([s["categories"][name]["iou"] for s in summaries]))}
            for name, held in first["categories"].items()
        }
    combined["protocol"] = first["protocol"] | {"seed": [s["protocol"]["seed"] for s in summaries]}
    return combined


def _begun(path: Path) -> list[int]:
    held, remedy = read_json(path), 'write {"seeds": [0, 1, 2]} there, of the seeds that were begun'
    check_form(held, {"seeds": [int]}, path, remedy=remedy)
    seeds: list[int] = held["seeds"]
    if not seeds or min(seeds) < 0:
        raise PccloraError(f"{path}: seeds are {seeds}; {remedy}")
    return seeds


def _one_seed(output: Path, seed: int) -> Path:
    config = load_run_config(output / "config.yaml", [f"seed={seed}"])
    folder = output / f"seed_{seed}"
    return train(config, folder, resume=(folder / "config.yaml").is_file()).path
