"""What a trained model says of single objects: the class of each, or the part of each of its points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pcclora.data import Axis, FolderConfig, LabelledDataset, Scan
from pcclora.engine.devices import OneProcess
from pcclora.engine.evaluator import Evaluation
from pcclora.errors import PccloraError, did_you_mean
from pcclora.log import logger
from pcclora.runs.inputs import Files, Given, OneScan, Photos, read_each
from pcclora.runs.likeness import head_inputs, say_unlike, shares_nearer
from pcclora.runs.orientation import warn_of_turned
from pcclora.runs.segmented import SegmentedCloud
from pcclora.tasks.base import Labels
from pcclora.tasks.classification import ClassEvaluation, Temperature
from pcclora.tasks.parts import PartEvaluation
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import AdaptationRun, PartSegmentationRun
from pcclora.text import visible

UP_OPTION = "--up {0}, in Python up='{0}'"


@dataclass(frozen=True)
class ClassPrediction:
    """What a classifier says of one object.

    Attributes:
        source: The file, or ``points 0``, ``image 0``: its place in the list.
        classes: Names, the most probable first.
        probabilities: (C,) float32 of these.
        unlike: How unlike the training objects it is: the share of them that are nearer to one of the others, 0 to 1;
            None where the run does not know.
        parts: The parts of its points by another run, where that was asked for and knows its class.
    """

    source: str
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    unlike: float | None = None
    parts: SegmentedCloud | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[0]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return float(self.probabilities[0])


@dataclass(frozen=True)
class Predictor:
    """What answers.

    Attributes:
        config: Of the run.
        labels: What it may answer.
        name: Where the run is, for messages.
        folder: Where its files are; one says how the training scans lay.
        answer: Runs the model: what :meth:`~pcclora.tasks.base.Task.evaluator` gives -> its evaluation.
        process: Where the model computes.
        temperature: By which logits become probabilities.
    """

    config: AdaptationRun
    labels: Labels
    name: Path
    folder: Path
    answer: Callable[[Callable[[nn.Module], Evaluation]], Evaluation]
    process: OneProcess
    temperature: Temperature

    def images(self, given: Sequence[Given], *, batch_size: int, top: int | None) -> list[ClassPrediction]:
        """Classify images.

        Raises:
            PccloraError: If some cannot be read; all are named.
        """
        try:
            return self._classes(given, Photos(given, self.labels.class_names), batch_size, top)
        except PccloraError:  # the first that cannot be read has ended it
            read_each(given, Given.pixels, keep=False)
            raise

    def clouds(
        self, given: Sequence[Given], how: FolderConfig, *, batch_size: int, top: int | None
    ) -> list[ClassPrediction]:
        """Classify point clouds; one that does not lie as the training scans did is pointed out.

        Raises:
            PccloraError: If some cannot be read; all are named.
        """
        dataset = Files(given, self.labels.class_names, how)
        self._point_out(given, [cloud[:, :3] for cloud in dataset.clouds], how.up)
        return self._classes(given, dataset, batch_size, top)

    def parts(
        self, given: Sequence[Given], category: str | Sequence[str] | None, how: FolderConfig
    ) -> list[SegmentedCloud]:
        """Predict the part of every point of scans of any size, each by itself.

        The model sees its number of points of a scan, always the same ones, and labels all others by its own
        interpolation.

        Args:
            given: The scans.
            category: What they are, one name for all or one each; None where there is one category.
            how: How they are read.

        Raises:
            PccloraError: If the category is not known, or some cannot be read; all are named.
        """
        names, categories = self.labels.class_names, self._categories(category, len(given))
        scans = read_each(given, lambda one: one.scan(how))
        datasets = [
            OneScan(one, scan, self.labels, names.index(category), how)
            for one, scan, category in zip(given, scans, categories, strict=True)
        ]
        self._point_out(given, [dataset.sample.points[:, :3] for dataset in datasets], how.up)
        config = replace(cast("PartSegmentationRun", self.config), evaluate_on="all")
        found = [cast("PartEvaluation", self._evaluate(config, dataset, 1)) for dataset in datasets]
        return [self._segmented(*one) for one in zip(given, scans, categories, found, strict=True)]

    def after(
        self, classes: Sequence[ClassPrediction], given: Sequence[Given], how: FolderConfig
    ) -> list[ClassPrediction]:
        """Return predictions of classes with the parts of what is of a category here; the others are said.

        Args:
            classes: Of each object.
            given: The objects.
            how: How they are read.

        Raises:
            PccloraError: If this is no part-segmentation run.
        """
        if self.config.task != "partseg":
            raise PccloraError(
                f"then: {self.name}: its task is '{self.config.task}'; a part-segmentation run is needed"
            )
        known = [row for row, one in enumerate(classes) if one.label in self.labels.class_names]
        self._point_out_others([one for row, one in enumerate(classes) if row not in known])
        clouds = self.parts([given[row] for row in known], [classes[row].label for row in known], how)
        parts = dict(zip(known, clouds, strict=True))
        return [replace(one, parts=parts.get(row)) for row, one in enumerate(classes)]

    def _point_out_others(self, others: Sequence[ClassPrediction]) -> None:
        """Say which objects have no parts, as their class is no category here: a line a class, not one an object."""
        sources: dict[str, list[str]] = {}
        for one in others:
            sources.setdefault(one.label, []).append(one.source)
        for label, (first, *more) in sources.items():
            which = visible(first) + (f" and {len(more)} more" if more else "")
            logger.warning("%s: '%s' is no category of %s: no parts", which, label, self.name)

    def _segmented(self, given: Given, scan: Scan, category: str, found: PartEvaluation) -> SegmentedCloud:
        parts = self.labels.required_parts
        return SegmentedCloud(
            points=scan.points,
            category=category,
            part_names=parts.names,
            parts=parts.of_class[self.labels.class_names.index(category)],
            prediction=found.predictions[0].numpy(),
            probabilities=found.probabilities[0].numpy(),
            colors=scan.colors,
            title=given.title,
            source=given.name,
        )

    def _classes(
        self, given: Sequence[Given], dataset: LabelledDataset, batch_size: int, top: int | None
    ) -> list[ClassPrediction]:
        seen: list[Tensor] = []
        evaluation = cast("ClassEvaluation", self._evaluate(self.config, dataset, batch_size, seen))
        evaluation = replace(evaluation, temperature=self.temperature)
        shares = shares_nearer(self.folder, seen, len(given))
        say_unlike([one.name for one in given], shares)
        names, found = self.labels.class_names, []
        for one, row, share in zip(given, evaluation.probabilities, shares, strict=True):
            order = row.argsort(descending=True)[:top]
            named = tuple(names[i] for i in order.tolist())
            found.append(ClassPrediction(one.name, named, row[order].numpy(), share))
        return found

    def _evaluate(
        self, config: AdaptationRun, dataset: LabelledDataset, batch_size: int, seen: list[Tensor] | None = None
    ) -> Evaluation:
        """Run the model; what its head reads goes into ``seen``, a batch each."""
        workers = config.train.workers if len(dataset) > batch_size else 0  # starting them takes longer than one batch
        config = replace(config, train=replace(config.train, batch_size=batch_size, workers=workers))
        evaluate = task_of(config).evaluator(config, dataset, self.process)

        def watched(model: nn.Module) -> Evaluation:
            with head_inputs(model, [] if seen is None else seen):
                return evaluate(model)

        return self.answer(watched)

    def _point_out(self, given: Sequence[Given], clouds: Sequence[NDArray[np.floating]], up: Axis) -> None:
        warn_of_turned(self.folder, clouds, [one.name for one in given], up=up, option=UP_OPTION)

    def _categories(self, category: str | Sequence[str] | None, count: int) -> list[str]:
        names = self.labels.class_names
        if category is None and len(names) > 1:
            raise PccloraError(
                f"{self.name} has {len(names)} categories; say which by category (--category): {', '.join(names)}"
            )
        each = [category or names[0]] * count if category is None or isinstance(category, str) else list(category)
        if len(each) != count:
            raise PccloraError(f"category: {len(each)} names for {count} objects; give one, or one each")
        for name in each:
            if name not in names:
                raise PccloraError(f"unknown category '{name}'{did_you_mean(name, names)}")
        return each
