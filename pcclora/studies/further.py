"""What runs of a comparison are tested on beside their own test set: another split, or corrupted clouds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pcclora.engine.run_folder import RunFolder
from pcclora.engine.summary import read_summary
from pcclora.metrics.accuracy import spread
from pcclora.runs.evaluate import evaluate_run, write_evaluation
from pcclora.runs.reload import TrainedRun
from pcclora.runs.robustness import Trial

CORRUPTIONS = "corruptions"
"""The folder, in a run's own, of its test on corrupted clouds."""


@dataclass(frozen=True)
class Further:
    """A further test of each run of a comparison, made once.

    Attributes:
        split: Of the data set.
        trial: The corruptions, if it is of these.
    """

    split: str = "test"
    trial: Trial | None = None

    def file(self, run: Path) -> Path:
        """Return the summary of it in the folder of a run."""
        return run / (CORRUPTIONS if self.trial else self.split) / "summary.json"

    def carry_out(self, run: Path) -> dict[str, Any]:
        """Test a finished run, unless that is done, and return its summary."""
        file = self.file(run)
        if not file.is_file():
            result = evaluate_run(TrainedRun.open(run), split=self.split, corruptions=self.trial)
            write_evaluation(result, file.parent)
        return read_evaluation(file)

    def figure(self, folder: Path, score: str) -> dict[str, Any] | None:
        """Return what the runs of a setting have, as a figure of several seeds; None where nothing is finished.

        Args:
            folder: Of the setting's seeds.
            score: Which figure; of corrupted clouds it is the mean corruption accuracy.
        """
        files = sorted(folder.glob(f"seed_*/{self.file(Path())}")) if RunFolder(folder).finished else []
        held = [read_evaluation(file) for file in files]
        values = [own["corruptions"]["mean"] if self.trial else own["metrics"][score] for own in held]
        return asdict(spread(values)) if values else None


def further_tests(choose_on: str, corruptions: Sequence[str], severities: Sequence[int]) -> tuple[Further, ...]:
    """Return the further tests that a comparison asks for.

    Raises:
        PccloraError: If there is no such corruption or severity.
    """
    tests = [Further(choose_on)] if choose_on else []
    tests += [Further(trial=Trial(corruptions, severities))] if corruptions else []
    return tuple(tests)


def read_evaluation(file: Path) -> dict[str, Any]:
    """Read the summary of a further test.

    Raises:
        PccloraError: If it is damaged.
    """
    return read_summary(file, evaluation=True, remedy=f"delete {file.parent}, and it is evaluated again")
