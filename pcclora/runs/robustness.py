"""How a classifier of clouds stands corrupted clouds: accuracy by corruption and severity, and their mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

from pcclora.data import LabelledDataset
from pcclora.data.clouds import Clouds
from pcclora.data.corruptions.dataset import Corrupted
from pcclora.data.corruptions.table import SETS, SEVERITIES, check_severities, find_corruptions
from pcclora.engine.devices import Processes
from pcclora.engine.environment import is_main_process
from pcclora.engine.run_folder import write_rows
from pcclora.errors import PccloraError
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import AdaptationRun, ClassificationRun

CSV = "corruptions.csv"
STANDARD = "modelnet40-c"


@dataclass(frozen=True)
class Trial:
    """Which corruptions a classifier is tested on.

    Attributes:
        words: Names of corruptions, or of sets of them; none are ModelNet40-C's fifteen.
        severities: Of 1 to 5.
        seed: Of the corruptions' randomness, whatever the run's own is: all runs are tested on the same clouds.

    Raises:
        PccloraError: If there is no such corruption or severity.
    """

    words: Sequence[str] = ()
    severities: Sequence[int] = SEVERITIES
    seed: int = 0

    def __post_init__(self) -> None:
        _ = self.names, check_severities(self.severities)

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions, in the order of their table."""
        return find_corruptions(self.words or (STANDARD,))

    def check(self, config: AdaptationRun) -> None:
        """Refuse a run that these corruptions are not for.

        Raises:
            PccloraError: If it does not classify clouds, or reads more of them than places.
        """
        if config.task != "cls":
            raise PccloraError(f"--corruptions: are of clouds that have one class; this run's task is '{config.task}'")
        if config.data.features:
            raise PccloraError(
                f"--corruptions: move points; what becomes of their {', '.join(config.data.features)} is not defined"
            )

    def test(
        self, config: AdaptationRun, dataset: LabelledDataset, model: nn.Module, processes: Processes, *, clean: float
    ) -> dict[str, Any]:
        """Test a model on all of them; what the model sees is what the run's protocol chooses, then corrupted.

        Args:
            config: The run.
            dataset: The clouds.
            model: On the device of the processes.
            processes: Who computes.
            clean: The accuracy on the clouds as they are.

        Returns:
            The entry ``corruptions`` of summary.json.

        Raises:
            PccloraError: If the run does not classify clouds, or a severity leaves a cloud too few points.
        """
        from tqdm import tqdm

        self.check(config)
        severities = check_severities(self.severities)
        cases = [(name, severity) for name in self.names for severity in severities]
        quiet = None if is_main_process() else True
        bar = tqdm(cases, desc="corruptions", unit="test", leave=False, dynamic_ncols=True, disable=quiet)
        own, accuracies = cast("ClassificationRun", config), dict[str, list[float]]()
        clouds = _seen(own, dataset)
        for name, severity in bar:
            bar.set_postfix_str(f"{name} {severity}")
            corrupted = Corrupted(clouds, name, severity, seed=self.seed)
            accuracies.setdefault(name, []).append(_accuracy(own, corrupted, model, processes))
        mean = float(np.mean(list(accuracies.values())))
        return {
            "set": next((title for title, names in SETS.items() if names == self.names), "chosen"),
            "severities": list(severities),
            "seed": self.seed,
            "accuracy": accuracies,
            "mean": mean,
            "clean": clean,
            "relative": mean / clean if clean else 0.0,
        }


def corruption_lines(held: Mapping[str, Any]) -> list[str]:
    """Return accuracies as lines of a table of at most 80 columns: a corruption a line, a severity a column.

    Args:
        held: The entry ``corruptions`` of summary.json.
    """
    heading = "".join(f"{severity:>7}" for severity in held["severities"])
    lines = [f"{'accuracy (%) by severity':<26}{heading}{'mean':>8}"]
    for name, values in held["accuracy"].items():
        lines.append(f"  {name:<24}{_percents(values)}{100 * np.mean(values):>8.1f}")
    columns = np.mean(list(held["accuracy"].values()), axis=0)
    title = f"mean of {len(lines) - 1} ({held['set']})"
    lines.append(f"{title:<26}{_percents(columns)}{100 * held['mean']:>8.1f}")
    lines.append(f"clean {held['clean']:.1%}; under corruption {held['relative']:.1%} of it is left")
    return lines


def write_corruptions(held: Mapping[str, Any], folder: Path) -> None:
    """Write the accuracies as ``corruptions.csv``, a line a corruption and severity.

    Args:
        held: The entry ``corruptions`` of summary.json.
        folder: Where.
    """
    rows = [
        [name, severity, f"{accuracy:.6f}"]
        for name, values in held["accuracy"].items()
        for severity, accuracy in zip(held["severities"], values, strict=True)
    ]
    write_rows(folder / CSV, ["corruption", "severity", "accuracy"], rows)


def _seen(config: ClassificationRun, dataset: LabelledDataset) -> Clouds:
    """Return the clouds as a test shows them; which points are farthest is found once for all corruptions."""
    return Clouds(
        dataset,
        points=config.points,
        seed=config.seed,
        augmentation="none",
        sampling="first" if dataset.fps_ordered else "fps",
        redraw=False,
        strict=False,
    )


def _accuracy(config: ClassificationRun, corrupted: Corrupted, model: nn.Module, processes: Processes) -> float:
    training = replace(config.train, workers=0)  # they would start anew for each, and not keep the farthest points
    changed = replace(config, points=corrupted.points, train=training)
    try:
        return task_of(changed).evaluator(changed, corrupted, processes)(model).metrics()["accuracy"]
    except PccloraError as error:
        raise PccloraError(f"{corrupted.corruption} {corrupted.severity}: {error}") from error


def _percents(values: Sequence[float]) -> str:
    return "".join(f"{100 * value:>7.1f}" for value in values)
