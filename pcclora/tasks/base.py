"""What a task is to the engine: training, seeds, comparison and evaluation know this much of it and no more."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from torch import Tensor, nn

from pcclora.data import LabelledDataset, Loader, Parts
from pcclora.engine.devices import Processes
from pcclora.engine.evaluator import Evaluation
from pcclora.engine.loop import Loss
from pcclora.errors import PccloraError
from pcclora.tasks.settings import AdaptationRun


@dataclass(frozen=True)
class Labels:
    """What a model may answer.

    Attributes:
        class_names: One a class.
        parts: What each class is made of, if the task is about parts.
    """

    class_names: tuple[str, ...]
    parts: Parts | None = None

    @property
    def required_parts(self) -> Parts:
        """The parts, where they must be known.

        Raises:
            PccloraError: If they are not.
        """
        if self.parts is None:
            raise PccloraError("no parts are known for these classes; part segmentation needs data that say them")
        return self.parts

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any]) -> "Labels":
        """Read what :meth:`to_summary` gave."""
        parts = summary.get("parts")
        held = Parts(tuple(parts["names"]), tuple(map(tuple, parts["of_class"]))) if parts else None
        return cls(tuple(summary["classes"]), held)

    def to_summary(self) -> dict[str, Any]:
        """Return the entries of summary.json."""
        held: dict[str, Any] = {"classes": list(self.class_names)}
        if self.parts is not None:
            held["parts"] = {"names": list(self.parts.names), "of_class": [list(p) for p in self.parts.of_class]}
        return held


Run = TypeVar("Run", bound=AdaptationRun)


class Task(ABC, Generic[Run]):
    """One task, of the runs of one schema; it has no state.

    Attributes:
        name: Of its configurations (``configs/<name>``) and its runs (``runs/<name>``).
        title: In summary.json and tables.
        schema: Of its configuration.
        figures: Name of a figure -> its heading in tables. The first one selects epochs and chooses settings.
        holds: What its samples are; a data set and a model must be of these.
        tool: The command that trains it.
        head: Which of the models' heads answers it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    schema: ClassVar[type[AdaptationRun]]
    figures: ClassVar[Mapping[str, str]]
    holds: ClassVar[str]
    tool: ClassVar[str]
    head: ClassVar[str]

    @property
    def score(self) -> str:
        """The figure that selects."""
        return next(iter(self.figures))

    @abstractmethod
    def labels(self, dataset: LabelledDataset) -> Labels:
        """Return what a model for this data set may answer."""

    @abstractmethod
    def loader(self, config: Run, dataset: LabelledDataset) -> Loader:
        """Return the training batches.

        Raises:
            PccloraError: If the data set has no labels of this task.
        """

    @abstractmethod
    def test_loader(self, config: Run, dataset: LabelledDataset, *, votes: int = 0) -> Loader:
        """Return the test batches of a run's protocol.

        Args:
            config: The run.
            dataset: The samples.
            votes: Augmented passes; 0 is one pass over the samples as they are.
        """

    @abstractmethod
    def inputs(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return what the model takes of a batch."""

    @abstractmethod
    def example(self, config: Run) -> dict[str, Tensor]:
        """Return a batch of one sample of the size that the model sees, to count operations with."""

    @abstractmethod
    def protocol(self, config: Run) -> dict[str, Any]:
        """Return what a sample goes through before the model sees it, for summary.json."""

    @abstractmethod
    def loss(self, config: Run, dataset: LabelledDataset) -> Loss:
        """Return (model, batch) -> means over the batch by name; ``loss`` is minimised, the others are logged.

        Args:
            config: The run.
            dataset: What is trained on.
        """

    @abstractmethod
    def evaluator(
        self, config: Run, dataset: LabelledDataset, accelerator: Processes, *, votes: int = 0
    ) -> Callable[[nn.Module], Evaluation]:
        """Prepare the evaluation of a data set by a run's protocol.

        Args:
            config: The run.
            dataset: The samples.
            accelerator: From :func:`~pcclora.engine.environment.make_accelerator`, or one process alone.
            votes: Augmented passes whose logits are averaged; 0 is one pass over the samples as they are.
        """

    def further_figures(
        self, config: Run, dataset: LabelledDataset, accelerator: Processes, model: nn.Module
    ) -> dict[str, dict[str, float]]:
        """Return figures by another protocol that the run asks for beside its own: label -> figures."""
        return {}


AnyTask: TypeAlias = Task[Any]
"""A task where it is not known which, as in a table of them."""
