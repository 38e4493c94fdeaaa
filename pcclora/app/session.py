"""What is done in the application, without a browser: open scans, select pieces, assign parts, undo steps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pcclora.app.labels import UNLABELLED, LabelFolder, Labelling
from pcclora.app.pointing import Eye, Place, at_click, in_rectangle
from pcclora.app.predicting import Prediction, predict
from pcclora.app.scans import OpenScan
from pcclora.data import Axis
from pcclora.errors import PccloraError
from pcclora.runs.reload import TrainedRun

How = Literal["new", "add", "take"]
MOST_STEPS = 200
"""Steps that can be undone."""
PIECES = 60
"""Super-points of a scan at first."""


class Session:
    """One person's work on some scans. Not for several threads at a time.

    Args:
        paths: The scans; no others are ever read.
        labels: Where labels are kept.
        up: The axis of the scans that is vertical.
        runs: Name -> finished run.

    Raises:
        PccloraError: If there is no scan, one lies where labels are written, or the first cannot be read.
    """

    def __init__(
        self, paths: Sequence[Path], labels: LabelFolder, *, up: Axis = "y", runs: dict[str, TrainedRun] | None = None
    ) -> None:
        for path in paths:
            if labels.holds(path):
                raise PccloraError(f"{path}: lies in {labels.root}, where labels are written; choose another --labels")
        if not paths:
            raise PccloraError("no scan was named; give files or folders of them: pcclora app SCANS")
        self.paths, self.labels, self.up, self.runs = list(paths), labels, up, dict(runs or {})
        self.pieces_wanted = PIECES
        self.predictions: dict[tuple[Path, str], Prediction] = {}
        self.open(0)

    def open(self, index: int) -> None:
        """Open a scan, with what is known of it.

        Raises:
            PccloraError: If it or its labels cannot be read; the one that was open stays open.
        """
        scan = OpenScan(self.paths[index], self.up)
        found = self.labels.find(scan)
        self.index, self.scan = index, scan
        self.now = found or Labelling("", np.full(len(scan), UNLABELLED, np.int16))
        self._undone: list[Labelling] = []
        self._done: list[Labelling] = []
        self.cut(self.pieces_wanted)

    def turn(self, up: Axis) -> None:
        """Say that another axis of the scans is vertical; labels stay, predictions are forgotten."""
        self.up = up
        self.predictions.clear()
        self.scan.turn(up)

    def cut(self, pieces: int) -> None:
        """Cut the scan into so many super-points."""
        self.pieces_wanted = pieces
        self.pieces = self.scan.superpoints.cut(pieces)
        self.selected = np.zeros(len(self.scan), bool)

    @property
    def parts(self) -> list[str]:
        """The parts of the scan's class."""
        return self.labels.names.get(self.now.category, [])

    def click(self, eye: Eye, place: Place, how: How = "new") -> None:
        """Select the super-point under a click; one that meets nothing changes nothing.

        Args:
            eye: The camera.
            place: Where in the picture.
            how: Whether the piece replaces what is selected, is added to it, or taken away.
        """
        point = at_click(eye, self.scan.placed, place)
        if point is not None:
            self.select(self.pieces == self.pieces[point], how)

    def rectangle(self, eye: Eye, low: Place, high: Place, how: How = "new") -> None:
        """Select the points in a rectangle that are seen; see :meth:`click`."""
        self.select(in_rectangle(eye, self.scan.placed, self.scan.spacing, low, high), how)

    def select(self, points: NDArray[np.bool_], how: How = "new") -> None:
        """Select points (n,), add them, or take them away."""
        kept = self.selected if how != "new" else np.zeros(len(self.scan), bool)
        self.selected = kept & ~points if how == "take" else kept | points

    def set_category(self, name: str) -> None:
        """Say which class the scan is of; labels of another class's parts go."""
        if name not in self.labels.names:
            raise PccloraError(f"there is no class '{name}'; make it first")
        if name != self.now.category:
            self._step(Labelling(name, np.full(len(self.scan), UNLABELLED, np.int16)))

    def assign(self, part: int) -> None:
        """Give the selected points a part, or none by -1, and select nothing.

        Raises:
            PccloraError: If the scan has no class, the class no such part, or nothing is selected.
        """
        self._need_part(part)
        if not self.selected.any():
            raise PccloraError("nothing is selected: click on a piece, or drag a rectangle with Shift")
        labels = np.where(self.selected, np.int16(part), self.now.labels)
        self._step(replace(self.now, labels=labels))
        self.selected = np.zeros(len(self.scan), bool)

    def fill(self, part: int) -> None:
        """Give all points that have no part yet this one; raises as :meth:`assign`."""
        self._need_part(part)
        empty = self.now.labels == UNLABELLED
        self._step(replace(self.now, labels=np.where(empty, np.int16(part), self.now.labels)))

    def propose(self, prediction: Prediction) -> None:
        """Start from what a run says of the scan: labels to be looked at, which are not finished before :meth:`check`.

        Raises:
            PccloraError: If the run says nothing of parts, or of parts that the class here has not.
        """
        category = self.now.category or prediction.category
        if category not in self.labels.names:
            raise PccloraError(f"there is no class '{category}' here; make it, with its parts, first")
        labels = prediction.as_labels(self.labels.names[category])
        if (labels == UNLABELLED).all():
            raise PccloraError(
                f"{prediction.run} knows the parts {', '.join(prediction.parts)}, and none of {category}: "
                f"{', '.join(self.labels.names[category])}"
            )
        self._step(Labelling(category, labels, checked=False))

    def take_own(self) -> None:
        """Start from the labels that the file itself has; raises where it has none, or of more parts than the class."""
        own = self.scan.labels
        if own is None:
            raise PccloraError(f"{self.scan.path.name} has no labels of its own")
        self._need_part(int(own.max()))
        self._step(replace(self.now, labels=own.astype(np.int16), checked=False))

    def check(self) -> None:
        """Say that the labels are right as they are.

        Raises:
            PccloraError: If some point has none.
        """
        if self.now.share < 1 or not self.now.category:
            raise PccloraError(f"{1 - self.now.share:.0%} of the points have no part yet; fill them first")
        self._step(replace(self.now, checked=True))

    def undo(self) -> bool:
        """Take the last step back; return whether there was one."""
        return self._shift(self._done, self._undone)

    def redo(self) -> bool:
        """Take the last undone step again; return whether there was one."""
        return self._shift(self._undone, self._done)

    def predict(self, name: str) -> Prediction:
        """Ask a run about the scan; its answer is kept.

        Raises:
            PccloraError: If it cannot answer, as where a run on parts has to know the class.
        """
        run, asked = self.runs[name], self.now.category
        if run.task == "partseg" and asked not in run.classes:
            asked = next((p.category for (path, _), p in self.predictions.items() if path == self.scan.path), "")
            asked = asked if asked in run.classes else ""
        found = predict(name, run, self.scan, asked)
        self.predictions[self.scan.path, name] = found
        return found

    def predicted(self, name: str) -> Prediction | None:
        """Return what a run has said of the scan, if it was asked."""
        return self.predictions.get((self.scan.path, name))

    def _need_part(self, part: int) -> None:
        if not self.now.category:
            raise PccloraError("say first which class the scan is of")
        if not UNLABELLED <= part < len(self.parts):
            raise PccloraError(f"{self.now.category} has {len(self.parts)} parts, and none of number {part + 1}")

    def _step(self, labelling: Labelling) -> None:
        self.labels.save(self.scan, labelling)
        self._done = [*self._done[1 - MOST_STEPS :], self.now]
        self._undone.clear()
        self.now = labelling

    def _shift(self, source: list[Labelling], target: list[Labelling]) -> bool:
        if not source:
            return False
        self.labels.save(self.scan, source[-1])
        target.append(self.now)
        self.now = source.pop()
        return True
