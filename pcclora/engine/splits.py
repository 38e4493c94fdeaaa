"""Which samples a run trains on, looks at meanwhile, and is tested on."""

from dataclasses import dataclass

from pcclora.data import LabelledDataset, Subset, stratified_split
from pcclora.engine.settings import AdaptationRun
from pcclora.engine.tasks import check_kind, task_of
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS


@dataclass(frozen=True)
class Splits:
    """The data of a run.

    Attributes:
        train: What is trained on.
        watched: What the curves, and perhaps the selection, are made on: the validation part or the test set.
        test: The test set.
    """

    train: LabelledDataset
    watched: LabelledDataset
    test: LabelledDataset


def load_splits(config: AdaptationRun) -> Splits:
    """Load the data sets that a run's selection asks for.

    Raises:
        PccloraError: If they cannot be read, or disagree about the classes.
    """
    train, test = (DATASETS.build(config.data, split=split) for split in ("train", "test"))
    check_kind(task_of(config), f"data set '{train.name}'", train.holds)
    if (train.class_names, train.parts) != (test.class_names, test.parts):
        raise PccloraError(f"{train.name}: training and test set have different classes or parts")
    if config.selection != "validation":
        return Splits(train, test, test)
    kept, held_out = stratified_split(train.labels, config.validation_fraction, config.seed)
    watched = Subset(train, held_out, split="validation")
    return Splits(Subset(train, kept, split="train"), watched, test)
