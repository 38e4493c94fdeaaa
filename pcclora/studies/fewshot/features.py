"""What a frozen trunk makes of a cloud, computed once and used in every epoch.

A classifier is three steps: ``tokenize``, ``attend``, ``classify``. How many of them do not change while it is trained
is found out, not assumed: :func:`constant_stage` runs them. Whether their results are kept or computed anew at every
step, one function computes them, :func:`stage_outputs`, in chunks of one fixed size: the result for a cloud depends on
no other cloud and not on its place, so both ways train the same numbers, bit for bit on a CPU.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pcclora.data import Batch, Loader
from pcclora.data.loader import Items
from pcclora.engine.evaluator import fill_up
from pcclora.models.backbone import Classifier, TokenClassifier

T = TypeVar("T")
Stage = Literal["features", "tokens"]
CHUNK = 8  # clouds; a matrix product may round differently with another number of rows


def constant_stage(model: Classifier, cloud: Tensor) -> Stage | None:
    """Return how far a model gives the same for the same cloud all through its training.

    Args:
        model: With its adapter attached; it is left as it is.
        cloud: (1, N, 3) on the model's device.

    Returns:
        ``features`` if only the head changes, ``tokens`` if also blocks, norms or the class token do, None if the
        tokeniser does or is none of its own.
    """
    stages: tuple[Stage, ...] = ("features", "tokens") if isinstance(model, TokenClassifier) else ("features",)
    return next((stage for stage in stages if _is_constant(model, stage, cloud)), None)


@torch.no_grad()
def stage_outputs(model: Classifier, stage: Stage, clouds: Tensor) -> Tensor:
    """Run a model up to a stage, without gradients, in chunks of :data:`CHUNK` clouds; the last one is filled up.

    Args:
        model: The classifier.
        stage: Up to where.
        clouds: (B, N, 3) on the model's device.

    Returns:
        Features (B, F), or tokens and centres side by side (B, G, C + 3).
    """
    parts = torch.split(clouds, CHUNK)
    return torch.cat([_run(model, stage, fill_up(part, CHUNK))[: len(part)] for part in parts])


class FromStage(nn.Module):
    """A classifier whose first steps are constant: what trains is the rest.

    Args:
        model: The classifier; its state and its parameters' names are reached through ``model``.
        stage: Up to where it is constant.
        cached: It is given what :func:`stage_outputs` returned; else it is given clouds and computes that.
    """

    def __init__(self, model: Classifier, stage: Stage, *, cached: bool) -> None:
        super().__init__()
        self.model: Classifier = model
        self.stage: Stage = stage
        self.cached = cached

    def forward(self, x: Tensor) -> Tensor:
        """Map clouds (B, N, 3), or what is kept of them, to logits (B, num_classes)."""
        held = x if self.cached else stage_outputs(self.model, self.stage, x)
        return self.model.classify(held if self.stage == "features" else _attend(self.model, held))


def keep(loader: Loader, compute: Callable[[Tensor], Tensor]) -> Loader:
    """Return a loader of the same batches in which each cloud is replaced by what is computed from it, once.

    Args:
        loader: From :func:`pcclora.data.make_loader`; of a training loader the ``views`` are a fixed number.
        compute: Clouds (B, N, 3) -> (B, ...).
    """
    kept = DataLoader(
        _Kept(loader.dataset, max(loader.sampler.views, 1), compute),
        batch_size=loader.batch_size,
        sampler=loader.sampler,
        drop_last=loader.drop_last,
        collate_fn=_as_it_is,  # a dataset that takes many keys at once returns a batch
        generator=torch.Generator(),
    )
    return cast("Loader", kept)


class _Kept(Dataset[Batch]):
    """Batches by (view, index); ``points`` holds what was computed from the points."""

    def __init__(self, clouds: Items, views: int, compute: Callable[[Tensor], Tensor]) -> None:
        keys = [(view, index) for view in range(views) for index in range(len(clouds))]
        parts = [keys[start : start + 8 * CHUNK] for start in range(0, len(keys), 8 * CHUNK)]
        self.dataset, self.samples = clouds.dataset, len(clouds)
        self.held = torch.cat([compute(torch.from_numpy(np.stack([clouds[k].points for k in part]))) for part in parts])
        self.labels = torch.from_numpy(clouds.dataset.labels)

    def __len__(self) -> int:
        return self.samples

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        views, rows = torch.tensor(keys).unbind(1)
        return Batch(points=self.held[views * self.samples + rows], labels=self.labels[rows], index=rows)


def compute_all(loader: Loader, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what is computed from each cloud of a test loader, in the data set's order (N, ...)."""
    return _Kept(loader.dataset, 1, compute).held


def _as_it_is(batch: T) -> T:
    return batch


def _run(model: Classifier, stage: Stage, clouds: Tensor) -> Tensor:
    return model.features(clouds) if stage == "features" else _tokens(model, clouds)


def _tokens(model: Classifier, clouds: Tensor) -> Tensor:
    """Return tokens and centres side by side (B, G, C + 3)."""
    return torch.cat(cast("TokenClassifier", model).tokenize(clouds), dim=2)


def _attend(model: Classifier, held: Tensor) -> Tensor:
    """Return the features (B, F) of what :func:`_tokens` gave."""
    return cast("TokenClassifier", model).attend(held[..., :-3], held[..., -3:])


def _is_constant(model: Classifier, stage: Stage, cloud: Tensor) -> bool:
    """Whether a stage asks for no gradient, draws nothing at random, and is in train mode what it is in eval mode."""
    was_training = model.training
    devices = [cloud.device] if cloud.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        try:
            before = _random_states(devices)
            plain = _run(model.eval(), stage, cloud)
            if plain.requires_grad:
                return False
            trained = _run(model.train(), stage, cloud)
            drew = any(not torch.equal(a, b) for a, b in zip(before, _random_states(devices), strict=True))
            return torch.equal(plain, trained) and not drew
        finally:
            model.train(was_training)


def _random_states(devices: Sequence[torch.device]) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
