"""The folder of one run: all that is needed to resume it, judge it and make it again.

::

    config.yaml      the resolved configuration; reading it gives the same run
    versions.json    interpreter, libraries, machine, threads, base checkpoint and its fingerprint
    data.json        every object that it is trained and tested on: name, class, digest of its content
    metrics.csv      one row an epoch; deterministic columns only, so that two equal runs have equal files
    timing.csv       seconds and memory of the same epochs
    checkpoint/      the last state of training
    adapter/         what was trained, and its card (a pre-training run has model.safetensors instead)
    predictions.csv  every test object's name, label, prediction and confidence; for parts its mIoU, points and accuracy
    predicted_parts.safetensors   with parts: of every test point the predicted part, and the probabilities
    orientation.json how the training clouds lie, to say so of scans that lie otherwise
    likeness.safetensors  features of training objects, to say so of objects that are unlike them
    summary.json     the final numbers; it is written last, so a run that has it is finished
    tensorboard/     the curves for TensorBoard
    trackers.json    which experiments of other trackers are told the curves
    *.png            drawn by the tools: curves; of classes a confusion matrix and how reliable confidences are, or IoU
                     bars; a gallery of parts, or of the images that the run is surest of
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclora.atomic import creating_folder, read_json, write_json, write_text, writing
from pcclora.engine import summary as summaries
from pcclora.engine.data_record import FILE, DataRecord
from pcclora.engine.environment import compare_environment, describe_environment
from pcclora.errors import PccloraError
from pcclora.forms import check_form
from pcclora.paths import exists, is_file, read_text

if TYPE_CHECKING:
    from accelerate import Accelerator

Row = Mapping[str, float | int | None]
NAMES = ("path", "class", "predicted_class")
"""Columns of predictions.csv that are names, not numbers."""
TIMING = ("train_seconds", "peak_memory_mb")
"""Columns of timing.csv that a summary is made of."""
_VERSIONS = {"base": {"checkpoint": str, "fingerprint?": (str, None), "sha256?": (str, None)}}


class RunFolder:
    """The paths and tables of a run.

    Args:
        path: The folder; :meth:`create` makes one, :meth:`open` finds one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.versions, self.summary = path / "config.yaml", path / "versions.json", path / "summary.json"
        self.metrics, self.timing = path / "metrics.csv", path / "timing.csv"
        self.predictions, self.adapter, self.model = (
            path / "predictions.csv",
            path / "adapter",
            path / "model.safetensors",
        )
        self.predicted_parts = path / "predicted_parts.safetensors"
        self.checkpoint = path / "checkpoint" / "last.safetensors"
        self.curves, self.confusion = path / "curves.png", path / "confusion.png"
        self.ious, self.gallery = path / "ious.png", path / "gallery.png"
        self.corruptions, self.reliability = path / "corruptions.png", path / "reliability.png"

    @classmethod
    def create(cls, path: Path, *, config: str, versions: Mapping[str, Any], record: DataRecord) -> "RunFolder":
        """Make a run's folder in one step.

        Args:
            path: Where; it must be absent or an empty folder.
            config: Text of config.yaml.
            versions: Content of versions.json.
            record: Of its data.

        Raises:
            PccloraError: If something is there already.
        """
        with creating_folder(path) as temporary:
            write_text(temporary / "config.yaml", config)
            write_json(temporary / "versions.json", dict(versions))
            record.write(temporary / FILE)
            (temporary / "checkpoint").mkdir()
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Find a run's folder.

        Raises:
            PccloraError: If it is not one, as a few-shot comparison or a folder of several seeds.
        """
        folder = cls(path)
        if not is_file(folder.config):
            raise PccloraError(f"{path}: not a run folder (no config.yaml)")
        if exists(path / "folds"):
            raise PccloraError(f"{path}: a few-shot comparison, which keeps no model; choose the folder of a run")
        if seeds := sorted(p.name for p in path.glob("seed_*")):
            raise PccloraError(f"{path}: not the folder of one run; choose one of its seeds: {', '.join(seeds)}")
        if not is_file(folder.versions):
            raise PccloraError(f"{path}: not the folder of one run (no versions.json); choose a run in it")
        return folder

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.summary.is_file()

    def read_summary(self, *, evaluation: bool = False) -> dict[str, Any]:
        """Return summary.json.

        Args:
            evaluation: It may be that of an evaluation, which trained nothing.

        Raises:
            PccloraError: If the run is not finished, or the file is damaged.
        """
        if not self.finished:
            raise PccloraError(f"{self.path}: the run is not finished; go on with it by --resume {self.path}")
        return summaries.read_summary(self.summary, evaluation=evaluation, remedy=self.made_again)

    def read_versions(self) -> dict[str, Any]:
        """Return versions.json.

        Raises:
            PccloraError: If it is damaged.
        """
        held = read_json(self.versions)
        check_form(held, _VERSIONS, self.versions, remedy="copy the run folder again")
        return held

    def read_predictions(self) -> list[dict[str, float]]:
        """Return predictions.csv, a row a test object.

        Raises:
            PccloraError: If it is absent or damaged, or not of as many objects, or classes, as summary.json says.
        """
        remedy, held = self.made_again, self.read_summary(evaluation=True)
        own = ("miou", "parts") if "categories" in held else ("prediction", "confidence")
        rows = read_rows(self.predictions, remedy=remedy, needed=("index", "label", *own))
        tested, classes = list(held["samples"].values())[-1], range(len(held["classes"]))  # the last is the test side
        if [row["index"] for row in rows] != list(range(tested)):
            raise PccloraError(f"{self.predictions}: is not of the {tested} test objects, one a row in order: {remedy}")
        for row in rows:
            if row["label"] not in classes or row.get("prediction", 0) not in classes:
                raise PccloraError(f"{self.predictions}: row {row['index']:.0f} has a class that is none: {remedy}")
        return rows

    def read_names(self) -> list[str]:
        """Return what predictions.csv calls each test object, fit to be shown; nothing of a run that wrote no names.

        Raises:
            PccloraError: If it is absent.
        """
        lines = csv.DictReader(io.StringIO(_read_text(self.predictions, self.made_again), newline=""))
        return [line["path"] for line in lines] if "path" in (lines.fieldnames or ()) else []

    @property
    def made_again(self) -> str:
        """What to do where something that a run's end writes is damaged."""
        return f"delete {self.summary.name} there, and --resume {self.path} makes what the run's end writes again"

    def cut(self, epochs: int) -> None:
        """Drop the rows of epochs after the first ``epochs``, and a line that was not finished.

        Raises:
            PccloraError: If a row of one of the first ``epochs`` is missing or damaged.
        """
        for path, needed in ((self.metrics, ()), (self.timing, TIMING)):
            if not epochs:
                with writing(path):
                    path.unlink(missing_ok=True)
                continue
            remedy = f"copy it again; the checkpoint says that {epochs} epochs are done"
            header, *lines = _read_text(path, remedy).splitlines(keepends=True) or [""]
            text = "".join([header, *lines[:epochs]])
            rows = _parse(text, path, remedy, ("epoch", *needed))
            if not text.endswith("\n") or [row["epoch"] for row in rows] != list(range(1, epochs + 1)):
                raise PccloraError(f"{path}: does not have the epochs 1 to {epochs}, a whole line each; {remedy}")
            write_text(path, text)


def open_run(
    output: Path,
    config: str,
    base: Mapping[str, Any],
    record: DataRecord,
    accelerator: "Accelerator",
    *,
    resume: bool,
) -> RunFolder:
    """Create a run's folder, or find it again, on every process.

    Args:
        output: The folder.
        config: Text of config.yaml.
        base: What the run starts from: checkpoint, path, fingerprint.
        record: Of its data; one that is resumed has its own.
        accelerator: The main process writes.
        resume: Find it again, and compare the environment and the base with those it was begun with.

    Raises:
        PccloraError: If it holds another run; if it is resumed on other base weights or another number of processes.
    """
    if resume:
        folder = RunFolder.open(output)
        then = folder.read_versions()
        compare_environment(then, accelerator)
        if then["base"].get("fingerprint") != base.get("fingerprint"):
            raise PccloraError(f"{output}: begun with other base weights than those of {base['checkpoint']} now")
        return folder
    if accelerator.is_main_process:
        versions = {**describe_environment(accelerator), "base": dict(base)}
        RunFolder.create(output, config=config, versions=versions, record=record)
    accelerator.wait_for_everyone()
    return RunFolder(output)


def append_row(path: Path, row: Row) -> None:
    """Add a line to a CSV file, and the header before the first; None leaves a cell empty."""
    with writing(path), path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in row.values()])
        file.flush()
        os.fsync(file.fileno())  # before the checkpoint that counts on this row


def read_rows(path: Path, *, remedy: str = "copy it again", needed: Sequence[str] = ()) -> list[dict[str, float]]:
    """Read the numbers of a CSV file; an empty cell is left out of its row, and so are the columns of names.

    Args:
        path: The file.
        remedy: What to do if it is damaged.
        needed: Columns that must be there, without an empty cell.

    Raises:
        PccloraError: If it is absent, no CSV file, or has something else in the place of a number.
    """
    return _parse(_read_text(path, remedy), path, remedy, needed)


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write or replace a CSV file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def default_output(task: str, parts: Sequence[str]) -> Path:
    """Return ``runs/<task>/<parts>_<time>``, with a counter when that is taken.

    Args:
        task: ``cls``, ``partseg``, ``image`` or ``pretrain``.
        parts: Data set, model, adapter; a slash in one becomes an underscore.
    """
    stem = Path("runs") / task / f"{'_'.join(parts).replace('/', '_')}_{datetime.now():%Y%m%d-%H%M%S}"
    candidates = (stem if n == 0 else stem.with_name(f"{stem.name}-{n}") for n in range(1000))
    return next(path for path in candidates if not path.exists())


def _read_text(path: Path, remedy: str) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise PccloraError(f"{path}: cannot be read: {error}; {remedy}") from error


def _parse(text: str, place: Path, remedy: str, needed: Sequence[str]) -> list[dict[str, float]]:
    try:
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        found = []
        for cells in lines:
            row = dict(zip(header, cells, strict=True))
            found.append({key: float(cell) for key, cell in row.items() if cell and key not in NAMES})
            if lacking := [key for key in needed if key not in found[-1]]:
                raise ValueError(f"row {len(found)} has no {lacking[0]}")
        return found
    except (csv.Error, ValueError) as error:
        raise PccloraError(f"{place}: damaged: {error}; {remedy}") from error


def _cell(value: float | int | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.9g}"
