"""A finished run used again: its files read once, its model rebuilt from base checkpoint and adapter, and kept."""

from collections.abc import Callable, Iterator, MutableSet, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Any, TypeAlias
from weakref import WeakSet

import torch
from torch import nn

from pcclora import adapters
from pcclora.config import with_overrides
from pcclora.data import Axis, FolderConfig
from pcclora.engine.devices import OneProcess, device_of, find_device
from pcclora.engine.evaluator import Evaluation
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.hub import local
from pcclora.paths import is_file
from pcclora.runs.build import build_model
from pcclora.runs.inputs import Input, gather, reading
from pcclora.runs.pack import SUFFIX, WEIGHTS, read_pack, write_pack
from pcclora.runs.predict import ClassPrediction, Predictor
from pcclora.runs.publish import SHARED
from pcclora.runs.segmented import SegmentedCloud
from pcclora.runs.sharing import share
from pcclora.tasks.base import Labels
from pcclora.tasks.classification import Temperature
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import AdaptationRun

Prediction: TypeAlias = ClassPrediction | SegmentedCloud


class TrainedRun:
    """A finished run; each of its files is read when it is first asked for, and once, and its model is built once.

    It may be used by several threads: what touches the model happens in one of them at a time.

    Args:
        folder: The run.
        path: Where it lies, if that is a pack.
        checkpoint: Where the base checkpoint is now, if it has moved.
        device: Where the model computes; None is where it was trained, if that is here.

    Raises:
        PccloraError: If there is no such device.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        path: Path | None = None,
        checkpoint: str | Path | None = None,
        device: str | torch.device | None = "cpu",
    ) -> None:
        self.folder, self.path = folder, path or folder.path
        self._checkpoint = None if checkpoint is None else str(checkpoint)
        self._model: nn.Module | None = None
        self._lock = RLock()
        self._sharing: MutableSet[TrainedRun] = WeakSet()
        self._unpacked: TemporaryDirectory[str] | None = None
        self.device = device_of(self.config.train) if device is None else find_device(device)

    @classmethod
    def open(
        cls, path: str | Path, *, checkpoint: str | Path | None = None, device: str | torch.device | None = "cpu"
    ) -> "TrainedRun":
        """Return the run of a folder, a pack or a ``hub:owner/name``, which is fetched; its model is not built yet.

        Raises:
            PccloraError: If it is none, a pack was cut or changed, the hub is not reached, or there is no such device.
        """
        if not is_file(Path(path)):
            return cls(RunFolder.open(local(path, SHARED)), checkpoint=checkpoint, device=device)
        # everything reads files, so a pack becomes some; they go with the run, and nobody else may look into them
        unpacked = TemporaryDirectory(prefix="pcclora-", ignore_cleanup_errors=True)
        folder = RunFolder(Path(unpacked.name))
        read_pack(Path(path), folder.path)
        base = folder.path / WEIGHTS if checkpoint is None and (folder.path / WEIGHTS).is_file() else checkpoint
        run = cls(folder, path=Path(path), checkpoint=base, device=device)
        run._unpacked = unpacked
        return run

    @property
    def is_pack(self) -> bool:
        """Whether it is one file, which does not say what the run was trained and tested on."""
        return self.path != self.folder.path

    @cached_property
    def config(self) -> AdaptationRun:
        """What config.yaml says.

        Raises:
            PccloraError: If it is damaged, or is of something else, as pre-training.
        """
        with self._named():
            return load_run_config(self.folder.config)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What summary.json says.

        Raises:
            PccloraError: If it is absent, because the run is not finished, or damaged.
        """
        with self._named():
            return self.folder.read_summary()

    @property
    def labels(self) -> Labels:
        """What its model may answer."""
        return Labels.of_summary(self.summary)

    @property
    def temperature(self) -> Temperature:
        """What its logits are divided by before they become probabilities.

        Raises:
            PccloraError: If the run is not finished, or summary.json is damaged.
        """
        return Temperature.of_summary(self.summary)

    @property
    def task(self) -> str:
        """``cls``, ``partseg`` or ``image``."""
        return self.config.task

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes; of a part-segmentation run, of its categories."""
        return self.labels.class_names

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Category -> the names of its parts; empty where the task is not about parts."""
        held = self.labels.parts
        if held is None:
            return {}
        named = (tuple(held.names[part] for part in parts) for parts in held.of_class)
        return dict(zip(self.classes, named, strict=True))

    @property
    def features(self) -> tuple[str, ...]:
        """What it reads of each point beside its place, in the order of their columns."""
        return self.config.data.features

    def with_overrides(self, overrides: Sequence[str]) -> AdaptationRun:
        """Return its configuration with ``key=value`` changed.

        Raises:
            PccloraError: If one cannot be used.
        """
        return with_overrides(self.config, overrides, source="command line")

    @property
    def model(self) -> nn.Module:
        """The trained model, in eval mode on ``device``.

        Raises:
            PccloraError: If the run is not finished, or the base weights are absent or other ones.
        """
        with self._lock:
            if self._model is None:
                with self._named():
                    model = self._base()
                    adapters.load_adapter(model, self.folder.adapter)  # compares the base's fingerprint
                self._model = self._placed(model.eval())
            return self._model

    def _base(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # the seed of the run is for its weights, not for who loads it
            return build_model(self.config, self.labels, checkpoint=self._checkpoint)

    def _placed(self, model: nn.Module) -> nn.Module:
        model.to(self.device)
        share(model, [other._model for other in self._sharing if other is not self and other._model is not None])
        return model

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the pack in messages, in the place of the folder that it is unpacked in."""
        try:
            yield
        except PccloraError as error:
            if not self.is_pack:
                raise
            raise type(error)(str(error).replace(str(self.folder.path), str(self.path))) from error

    def share_with(self, others: MutableSet["TrainedRun"]) -> None:
        """Join runs that hold no tensor twice: of equal ones all have the first, on each device.

        Args:
            others: Those that are together; the run is added.
        """
        with self._lock:
            self._sharing = others
            others.add(self)
            if self._model is not None:
                self._placed(self._model)

    def to(self, device: str | torch.device) -> "TrainedRun":
        """Move the model to another device, and return the run.

        Raises:
            PccloraError: If it is not on this machine; the message says which are.
        """
        found = find_device(device)
        with self._lock:
            self.device = found
            if self._model is not None:
                self._placed(self._model)
        return self

    def merge(self) -> "TrainedRun":
        """Put the adapter into the weights, where it costs nothing, and return the run.

        Raises:
            PccloraError: If it is merged already, or of a kind that no weight can hold.
        """
        with self._lock:
            adapters.merge(self.model)
        return self

    def pack(self, output: str | Path | None = None, *, weights: bool = False) -> Path:
        """Write what predicting needs of the run into one file, which :func:`load_run` takes.

        Args:
            output: The file, which must not be there; None is the run's name with ``.pcclora``, beside its folder.
            weights: Put the base weights in too; else who loads it must have them.

        Returns:
            The file.

        Raises:
            PccloraError: If the run is not finished, something is there already, or the base weights are absent.
        """
        place = self.path.resolve()
        target = Path(output) if output is not None else place.with_name(f"{place.name.removesuffix(SUFFIX)}{SUFFIX}")
        with TemporaryDirectory(prefix="pcclora-") as staging, self._named():
            base = self._base().state_dict() if weights else None
            write_pack(self.folder, target, Path(staging), base)
        return target

    def predict(
        self,
        inputs: Input | Sequence[Input],
        *,
        batch_size: int | None = None,
        top: int | None = None,
        up: Axis | None = None,
        columns: Sequence[str] = (),
        category: str | Sequence[str] | None = None,
        then: "TrainedRun | None" = None,
    ) -> Any:
        """Predict the class of objects, or the part of each of their points, or one after the other.

        Args:
            inputs: Points (N, 3), an array or a tensor, in the run's own orientation, (N, 3 + C) for a run that reads
                features: its own, in its order, colours and intensity from 0 to 1; pixels (H, W, 3) uint8 for a run
                on images; a file that ``pcclora.data.read_points`` or ``read_image`` reads; a folder, which stands for
                all such files below it, sorted; or a list of these.
            batch_size: Objects at once; None is that of the training. Scans whose parts are predicted differ in size
                and go one by one.
            top: Classes to name, the most probable ones; None is all.
            up: The axis of the clouds that is vertical; None is that of the run's own.
            columns: What the columns of tables are; none are those of the run's own files.
            category: What the objects are whose parts are predicted, one name for all or one each; it may be left out
                where the run has one category.
            then: A part-segmentation run that is asked for the parts of each cloud, as of the category that its class
                is; they are the prediction's ``parts``. Of a class that is none of its categories it is said.

        Returns:
            A :class:`ClassPrediction`, or of a part-segmentation run a :class:`SegmentedCloud` with the points in the
            order in which they came: one for a single cloud, image or file, else a list in the order of the inputs.

        Raises:
            PccloraError: If one of these, the run or its base weights cannot be used.
        """
        given, single = gather(inputs, images=self.task == "image", features=self.features)
        for name, value in (("batch_size", batch_size), ("top", top)):
            if value is not None and value < 1:
                raise PccloraError(f"{name} is {value}; at least 1 is needed")
        if not given:
            return []
        size = min(batch_size or self.config.train.batch_size, len(given))
        found: Sequence[Prediction]
        if self.task == "image":
            self._refuse("photographs", up=up, columns=columns, category=category, then=then)
            found = self._predictor.images(given, batch_size=size, top=top)
        elif self.task == "cls":
            self._refuse("classes", category=category)
            found = self._predictor.clouds(given, self._how(up, columns), batch_size=size, top=top)
            if then is not None:
                how = replace(self._how(up, columns), features=then.features)
                found = then._predictor.after(found, given, how)
        else:
            self._refuse("parts", top=top, then=then)
            found = self._predictor.parts(given, category, self._how(up, columns))
        return found[0] if single else found

    def _how(self, up: Axis | None, columns: Sequence[str]) -> FolderConfig:
        return reading(self.config.data, up=up, columns=columns)

    @property
    def _predictor(self) -> Predictor:
        process = OneProcess(self.device, self.config.train.precision)
        return Predictor(self.config, self.labels, self.path, self.folder.path, self._answer, process, self.temperature)

    def _answer(self, evaluate: Callable[[nn.Module], Evaluation]) -> Evaluation:
        with self._lock:
            return evaluate(self.model)

    def _refuse(self, what: str, **options: object) -> None:
        for name, value in options.items():
            if value:
                raise PccloraError(f"{name}: {self.path} predicts {what}; this is for a run of another task")
