"""What a few-shot comparison's YAML file holds: a classification run, the episodes it is repeated on, the methods.

Everything beside the episodes is a :class:`~pcclora.tasks.settings.ClassificationRun`, so any file of ``configs/cls``
is a few-shot comparison as well. A method is a name and the ``key=value`` that tell it from the others.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pcclora.config import load_config, with_overrides
from pcclora.engine.settings import at_least
from pcclora.errors import PccloraError, did_you_mean
from pcclora.registry import DATASETS
from pcclora.runs.build import NAMED_WEIGHTS, anchored
from pcclora.studies.comparison import refuse_shared_homes
from pcclora.tasks.settings import ClassificationRun, ClassificationTraining

METHODS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "prototype": ("classifier=prototype",),
        "nearest": ("classifier=nearest",),
        "linear": ("adapter=linear", "adapter.modules_to_save=[head]"),
        "lora": ("adapter=lora",),
        "clora": ("adapter=clora",),
        "full": ("adapter=full", "train.lr=0.001"),
    }
)
"""What is compared where a file names no methods. ``linear`` leaves the class token frozen too: a probe of features."""

EPISODE_KEYS = frozenset("seed data way shot query folds episodes support_split query_split methods".split())
"""What all methods share, so that they meet the same folds."""


@dataclass
class FewShotTraining(ClassificationTraining):
    """Training on a few dozen objects: many epochs, small batches, the queries asked once at the end."""

    epochs: int = 32
    batch_size: int = 25
    lr: float = 3e-3
    warmup_epochs: float = 3.0
    eval_every: int = 0


@dataclass
class FewShotRun(ClassificationRun):
    """Methods side by side on few-shot episodes; a fold is one episode, learnt and asked about by each method.

    Attributes:
        way: Numbers of classes of an episode; each with each of ``shot`` is a setting.
        shot: Numbers of support objects of a class.
        query: Query objects of a class; 0: 20, as in the literature, or as many as the smallest class can give.
        folds: Episodes of each setting, drawn from (seed, fold); fold f trains with the seed ``seed + f``.
        episodes: A folder of episodes in the official form, which are read instead of drawn.
        support_split: Split of the data set that the support is drawn from.
        query_split: Split that the queries are drawn from; the same as ``support_split`` is allowed: no object is on
            both sides then.
        classifier: ``trained``: adapter and head are trained on the support. ``prototype``, ``nearest``: nothing is
            trained, the frozen features are compared.
        views: Draws of points and augmentation that each support cloud has, shown in turn, one an epoch; 0 is a new
            one in every epoch. What is frozen is computed once for each view.
        cache: ``auto`` computes what does not change once: the features, or the tokens before the first block.
            ``always`` refuses where nothing can be reused; ``never`` computes the same, bit for bit on a CPU, at every
            step.
        methods: Name -> ``key=value``; empty is :data:`METHODS`.
        selection: ``last``; ``best_on_test`` adds the best epoch on the queries, as the literature has it.
    """

    train: FewShotTraining = field(default_factory=FewShotTraining)
    way: list[int] = field(default_factory=lambda: [5])
    shot: list[int] = field(default_factory=lambda: [10])
    query: int = 0
    folds: int = 5
    episodes: str = ""
    support_split: str = "train"
    query_split: str = "test"
    classifier: Literal["trained", "prototype", "nearest"] = "trained"
    views: int = 8
    cache: Literal["auto", "always", "never"] = "auto"
    methods: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that no comparison can have."""
        super().__post_init__()
        at_least(self, 1, "folds")
        at_least(self, 0, "views", "query")
        for name in ("way", "shot"):
            values = getattr(self, name)
            if not values or min(values) < 1 or len(set(values)) < len(values):
                raise PccloraError(f"{name} is {values}; give each number once, from 1 up")
        if self.selection == "validation":
            raise PccloraError("selection=validation: a few shots have none to spare; choose last or best_on_test")
        if self.votes:
            raise PccloraError(f"votes is {self.votes}: few-shot queries are asked once, in the literature and here")
        if self.data.features and (self.episodes or self.classifier != "trained"):
            what = "files of episodes have places alone" if self.episodes else "frozen features know places alone"
            raise PccloraError(f"data.features: {what}; leave it out")
        self.methods = self.methods or {name: list(own) for name, own in METHODS.items()}
        refuse_shared_homes("methods", self.methods)

    @property
    def source(self) -> str:
        """Where the episodes come from: the name of a data set or of a folder."""
        return Path(self.episodes).resolve().name if self.episodes else DATASETS.name_of(self.data)

    @property
    def settings(self) -> list[tuple[int, int]]:
        """Every (way, shot)."""
        return [(way, shot) for way in self.way for shot in self.shot]

    def method(self, name: str) -> "FewShotRun":
        """Return the run of one method.

        Raises:
            PccloraError: If it cannot be used, or would meet other folds than the other methods.
        """
        other = [word for word in self.methods[name] if _root(word) in EPISODE_KEYS]
        if other:
            raise PccloraError(f"method '{name}': {other[0]} would give it other folds; set it for all methods")
        alone = replace(self, methods={name: self.methods[name]})  # the time to resolve all is not their number squared
        return with_overrides(alone, self.methods[name], source=f"method '{name}'")


def load_fewshot(file: Path | None, overrides: Sequence[str], *, methods: Sequence[str] = ()) -> FewShotRun:
    """Read a comparison.

    Args:
        file: Its YAML file, or a classification run's; None for the defaults.
        overrides: ``key=value``; what a method can have wins over the method's own.
        methods: Which of the methods, in this order; all without it.

    Raises:
        PccloraError: If anything is wrong, or a method is unknown.
    """
    overrides = [_anchored(word) for word in overrides]
    config = anchored(load_config(FewShotRun, file=file, overrides=overrides))
    unknown = [name for name in methods if name not in config.methods]
    if unknown:
        raise PccloraError(f"unknown method '{unknown[0]}'{did_you_mean(unknown[0], config.methods)}")
    shared = [word for word in overrides if _root(word) not in EPISODE_KEYS]
    chosen = {name: [*config.methods[name], *shared] for name in methods or config.methods}
    config = replace(config, methods=chosen)
    for name in config.methods:
        config.method(name)  # what is wrong shows before anything runs
    return config


def _anchored(override: str) -> str:
    """Write ``checkpoint=FILE`` with an absolute path: the comparison may go on from another working folder."""
    key, _, value = override.partition("=")
    known = key != "checkpoint" or value in NAMED_WEIGHTS
    return override if known else f"{key}={Path(os.path.expanduser(value)).resolve()}"


def _root(override: str) -> str:
    return override.partition("=")[0].partition(".")[0]
