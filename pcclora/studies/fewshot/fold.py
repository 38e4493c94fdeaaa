"""One fold of a few-shot comparison: one method learns an episode's support and answers its queries.

It is the training loop of every other run, without a folder: no checkpoint, no TensorBoard, no adapter unless asked
for. A fold of a second or two must not spend longer on its files than on its training.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from pcclora import adapters
from pcclora.config import from_dict, to_dict
from pcclora.data import (
    Episode,
    LabelledDataset,
    Loader,
    episodes_digest,
    make_episode,
    make_loader,
    most_queries,
    read_episode,
)
from pcclora.engine.environment import make_accelerator
from pcclora.engine.evaluator import Evaluator, Watched, check_finite
from pcclora.engine.loop import Job, fit, try_one_cloud
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.metrics.counts import count_parameters
from pcclora.models.backbone import Classifier
from pcclora.registry import ADAPTERS, DATASETS
from pcclora.runs.build import attach_adapter, build_model
from pcclora.runs.prepare import regularized
from pcclora.studies.fewshot.classifiers import Kind, classify_features
from pcclora.studies.fewshot.features import FromStage, Stage, compute_all, constant_stage, keep, stage_outputs
from pcclora.studies.fewshot.settings import FewShotRun
from pcclora.tasks.base import Labels
from pcclora.tasks.classification import ClassEvaluation, Classification

if TYPE_CHECKING:
    from accelerate import Accelerator

TASK = Classification()
QUERIES = 20
"""Of each class, in the literature."""


Compute = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Answers:
    """What a method made of a fold.

    Attributes:
        predictions: (Q,) class of each query, by the weights of the last epoch.
        labels: (Q,) true classes.
        trained: How many numbers it trained.
        reused: What was computed once: ``features``, ``tokens`` or nothing.
        best: Epoch and accuracy of the best epoch on the queries, if that was asked for.
    """

    predictions: Tensor
    labels: Tensor
    trained: int = 0
    reused: Stage | None = None
    best: tuple[int, float] | None = None

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return (self.predictions == self.labels).double().mean().item()


def load_episode(config: FewShotRun, way: int, shot: int, fold: int) -> Episode:
    """Read or draw an episode.

    Raises:
        PccloraError: If there is no such episode, or the data have too few classes or objects.
    """
    if config.episodes:
        return read_episode(config.episodes, way=way, shot=shot, fold=fold)
    sources = episode_sources(config)
    train, test = sources["support"], sources.get("query")
    return make_episode(train, test, way=way, shot=shot, query=config.query, seed=config.seed, fold=fold)


def settle_queries(config: FewShotRun) -> FewShotRun:
    """Return a comparison that says how many objects of a class are asked about, where it leaves that to the data.

    Raises:
        PccloraError: If the data cannot be read.
    """
    if config.query or config.episodes:
        return config
    sources = episode_sources(config)
    spare = most_queries(sources["support"], sources.get("query"), shot=max(config.shot))
    if len(spare) < max(config.way):
        return replace(config, query=1)  # drawing an episode says what is lacking
    smallest = min(spare, key=lambda name: spare[name])
    query = min(spare[smallest], QUERIES)
    if query < QUERIES:
        logger.info(
            "query=%d: so many objects of each class are asked about, as '%s' has no more beside what is learnt from; "
            "%d in the literature", query, smallest, QUERIES,
        )  # fmt: skip
    return replace(config, query=query)


def episode_sources(config: FewShotRun) -> dict[str, LabelledDataset]:
    """Return the data sets that episodes are drawn from: of the support, and of the queries if it is another one.

    Raises:
        PccloraError: If they cannot be read.
    """
    section = json.dumps({"data": to_dict(config)["data"]})
    splits = {"support": config.support_split, "query": config.query_split}
    if config.query_split == config.support_split:
        del splits["query"]
    return {side: _dataset(section, split) for side, split in splits.items()}


def run_fold(config: FewShotRun, way: int, shot: int, fold: int, *, adapter: Path | None = None) -> dict[str, Any]:
    """Learn and answer one fold.

    Args:
        config: The run of one method.
        way: Number of classes.
        shot: Support objects of a class.
        fold: Which episode.
        adapter: Folder to save the trained adapter in; None saves none.

    Returns:
        What is written down of it, in JSON's types.

    Raises:
        PccloraError: If the episode or anything else that the method needs cannot be used.
    """
    episode = load_episode(config, way, shot, fold)
    config = replace(config, seed=config.seed + fold)
    started = time.perf_counter()
    answers = (
        _train(config, episode, adapter)
        if config.classifier == "trained"
        else _compare(config, episode, config.classifier)
    )
    record: dict[str, Any] = {
        "way": way,
        "shot": shot,
        "fold": fold,
        "accuracy": answers.accuracy,
        "trained": answers.trained,
        "seconds": time.perf_counter() - started,
        "computed_once": answers.reused or "nothing",
        "episode_sha256": episodes_digest([episode]),
        "episode": episode.record(),
        "predictions": answers.predictions.tolist(),
        "labels": answers.labels.tolist(),
    }
    if answers.best:
        record["best_epoch_on_query"], record["accuracy_best_on_query"] = answers.best
    return record


def check_method(config: FewShotRun, episode: Episode) -> None:
    """Build a method's model and pass one cloud through it, so that what cannot work is refused before it is begun.

    Raises:
        PccloraError: If settings do not fit each other, the checkpoint is absent, or a cache is asked for in vain.
    """
    model = build_model(config, Labels(episode.class_names))
    loader, trained = _support(config, episode), config.classifier == "trained"
    if trained:
        attach_adapter(config, model, trains=True)
        _stage(config, cast("Classifier", model), _first_cloud(loader))
    try_one_cloud(model, loader, TASK.inputs, trained=trained)


def _train(config: FewShotRun, episode: Episode, folder: Path | None) -> Answers:
    accelerator, labels = make_accelerator(config.train), Labels(episode.class_names)
    model = build_model(config, labels).to(accelerator.device)
    adapter = attach_adapter(config, model, trains=True).to(accelerator.device)
    support, query = _support(config, episode), TASK.test_loader(config, episode.query)
    stage = _stage(config, cast("Classifier", model), _first_cloud(support).to(accelerator.device))
    trained: nn.Module = model
    if stage is not None:
        cached = config.cache != "never"
        trained = FromStage(cast("Classifier", model), stage, cached=cached)
        if cached:
            compute = _compute(cast("Classifier", model), stage, accelerator)
            support, query = keep(support, compute), keep(query, compute)
    answers_of = Evaluator(query, TASK.answers, accelerator=accelerator)
    watched = Watched(lambda own: ClassEvaluation.of(answers_of(own)))
    job = Job(
        model=trained,
        loader=support,
        loss=partial(regularized, adapter, TASK.loss(config, episode.support)),
        evaluate=watched,
        evaluations=("accuracy",),
        weights=partial(adapters.adapter_tensors, model),
        load_weights=partial(adapters.load_adapter_tensors, model),
        select_by=None if config.selection == "last" else "accuracy",
    )
    training = replace(config.train, eval_every=0)  # no curves: only a selection looks at earlier epochs
    state = fit(job, training, None, accelerator, seed=config.seed)
    if folder is not None:
        adapters.save_adapter(model, folder)
    best = None if state.best_value is None else (int(state.best_epoch or 0), state.best_value)
    reused = stage if config.cache != "never" else None
    last = cast("ClassEvaluation", watched.last)
    return Answers(last.predictions, last.labels, count_parameters(model).trainable, reused, best)


def _compare(config: FewShotRun, episode: Episode, kind: Kind) -> Answers:
    """Classify the queries by the frozen features of the support, both as test clouds."""
    accelerator = make_accelerator(config.train)
    model = cast("Classifier", build_model(config, Labels(episode.class_names)).to(accelerator.device).eval())
    compute = _compute(model, "features", accelerator)
    sides = (TASK.test_loader(config, episode.support), TASK.test_loader(config, episode.query))
    support, query = (_frozen_features(model, compute, side) for side in sides)
    predictions = classify_features(kind, support.numpy(), episode.support.labels, query.numpy())
    return Answers(torch.from_numpy(predictions), torch.from_numpy(episode.query.labels), reused="features")


def _frozen_features(model: Classifier, compute: Compute, loader: Loader) -> Tensor:
    features = model.pretrained(compute_all(loader, compute)).float().cpu()
    check_finite(list(features), loader.dataset)
    return features


def _stage(config: FewShotRun, model: Classifier, cloud: Tensor) -> Stage | None:
    """Return what of a model is constant over the epochs, where the clouds are.

    Raises:
        PccloraError: If it must be reused and nothing can.
    """
    stage = constant_stage(model, cloud) if config.views else None
    if stage is None and config.cache == "always":
        name = ADAPTERS.name_of(config.adapter)
        why = (
            f"adapter '{name}' trains the tokeniser, or it draws at random"
            if config.views
            else "views=0 draws other points in every epoch"
        )
        raise PccloraError(
            f"cache=always: nothing can be computed once: {why}; choose cache=auto, or views=4 and the like"
        )
    return stage


def _compute(model: Classifier, stage: Stage, accelerator: "Accelerator") -> Compute:
    def compute(clouds: Tensor) -> Tensor:
        with accelerator.autocast():
            return stage_outputs(model, stage, clouds.to(accelerator.device))

    return compute


def _first_cloud(loader: Loader) -> Tensor:
    return torch.from_numpy(loader.dataset[0, 0].points)[None]


def _support(config: FewShotRun, episode: Episode) -> Loader:
    return make_loader(
        episode.support,
        points=config.points,
        batch_size=min(config.train.batch_size, len(episode.support)),
        train=True,
        seed=config.seed,
        augmentation=config.augmentation,
        workers=config.train.workers,
        sampling="first" if episode.support.fps_ordered else None,  # the literature's 1024 of 1200 farthest points
        drop_last=True,  # as the literature's loaders, and a batch of one would stop a head with batch norm
        views=config.views,
    )


@lru_cache(maxsize=4)
def _dataset(section: str, split: str) -> LabelledDataset:
    """Open a data set once in each process; the section is JSON, because it must be hashable."""
    config = from_dict(FewShotRun, json.loads(section), source="data")
    dataset: LabelledDataset = DATASETS.build(config.data, split=split)
    return dataset
