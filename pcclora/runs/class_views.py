"""The test objects of a classification run with their true and predicted classes, for the pictures."""

from collections.abc import Sequence

from pcclora.errors import PccloraError
from pcclora.runs.answers import Answered
from pcclora.runs.reload import TrainedRun
from pcclora.runs.segmented import ClassAnswer, SegmentedCloud
from pcclora.runs.splits import open_side
from pcclora.tasks.settings import ClassificationRun
from pcclora.text import visible


def classified_test_clouds(run: TrainedRun, chosen: Sequence[Answered]) -> list[SegmentedCloud]:
    """Return test objects with their classes, as the run's end wrote them down.

    Args:
        run: A finished classification run on point clouds, whose data are where they were.
        chosen: Which of its answers.

    Returns:
        Each with all of its points, turned upright and scaled as for the model; the title names its source.

    Raises:
        PccloraError: If the run is none on point clouds, or the data cannot be read.
    """
    config = run.config
    if not isinstance(config, ClassificationRun):
        raise PccloraError(f"{run.path}: its task is '{config.task}'; a classification run on clouds is needed here")
    dataset = open_side(config, run.path)
    return [
        SegmentedCloud(
            points=dataset[answer.index].points[:, :3],
            category=answer.truth,
            title=f"test object {answer.index}, {visible(dataset.name_of(answer.index))}",
            answer=ClassAnswer(((answer.guess, answer.confidence),), truth=answer.truth),
        )
        for answer in chosen
    ]
