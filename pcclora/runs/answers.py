"""What a finished classification run answered of its test objects: surest wrong, surest right, least sure."""

from collections.abc import Sequence
from dataclasses import dataclass

from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError


@dataclass(frozen=True)
class Answered:
    """One line of predictions.csv.

    Attributes:
        index: Which test object, counted from 0.
        name: Its path below the data's root, fit to be shown; empty where an early version wrote none.
        truth: Its class.
        guess: The predicted class.
        confidence: Probability of the predicted class.
    """

    index: int
    name: str
    truth: str
    guess: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the class is the true one."""
        return self.truth == self.guess


def answers_of(folder: RunFolder) -> list[Answered]:
    """Return what a run answered, a test object each, in their order.

    Args:
        folder: A finished run on classes of clouds or images.

    Raises:
        PccloraError: If the predictions are damaged, or those of another task.
    """
    summary, rows = folder.read_summary(evaluation=True), folder.read_predictions()
    if "categories" in summary:
        raise PccloraError(f"{folder.path}: its task is '{summary['task']}'; a classification run is needed here")
    classes, names = summary["classes"], folder.read_names() or [""] * len(rows)
    return [
        Answered(
            int(row["index"]), name, classes[int(row["label"])], classes[int(row["prediction"])], row["confidence"]
        )
        for row, name in zip(rows, names, strict=True)
    ]


def surest(answers: Sequence[Answered], *, right: bool, count: int | None = None) -> list[Answered]:
    """Return the right or the wrong answers of highest probability, the surest first; all of them without a count."""
    return sorted((a for a in answers if a.right == right), key=lambda a: -a.confidence)[:count]


def remarkable(folder: RunFolder, *, count: int = 6) -> dict[str, list[Answered]]:
    """Return the test objects to look at first, by what is remarkable of them; none of them twice.

    Args:
        folder: A finished run on classes of clouds or images.
        count: How many of each kind at most.

    Returns:
        The surest wrong answers, the surest right ones, and of the others those of lowest probability.
    """
    answers = answers_of(folder)
    wrong, right = (surest(answers, right=side, count=count) for side in (False, True))
    others = (answer for answer in answers if answer not in wrong + right)
    return {
        "surest wrong answers": wrong,
        "surest right answers": right,
        "least sure": sorted(others, key=lambda a: a.confidence)[:count],
    }
