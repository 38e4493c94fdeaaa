"""What labelling costs: a person is simulated, who paints every scan from nothing, or corrects what the last run says.

    python -m pcclora.tools.benchmarks.labelling --categories chair lamp mug table --output labelling
    python -m pcclora.tools.benchmarks.labelling --categories A B --several data=partseg_h5 data.root=D --output relics

Scans of a data set whose parts are known are labelled through :class:`pcclora.app.session.Session`, one by one; after
4, 8, 16 and more of them CLoRA is adapted to what is labelled, as the button does, and scored on test objects. The
person knows the truth of each super-point (that of most of its points), and is charged one action for each that is
clicked and one for each key or button. Who paints clicks all pieces but those of the commonest part, which one key
fills. Who corrects clicks the pieces that are wrong, and one key says that the rest is right. Nobody errs, nobody looks
twice.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pcclora.app.labels import UNLABELLED, LabelFolder
from pcclora.app.session import Session
from pcclora.atomic import make_folder, replacing
from pcclora.config import load_config
from pcclora.data import LabelledDataset
from pcclora.engine import console
from pcclora.engine.run_folder import RunFolder, write_rows
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.runs.adapt import train
from pcclora.runs.load import load_run
from pcclora.runs.segmented import SegmentedCloud
from pcclora.tasks.settings import PartSegmentationRun
from pcclora.tools.shared.ending import run_tool
from pcclora.tools.shared.parser import Parser
from pcclora.vis.palette import BLUE, VERMILION
from pcclora.vis.ply import write_ply

WAYS = {"painting": BLUE, "correcting": VERMILION}
BATCH = 8


@dataclass(frozen=True)
class Measured:
    """One training.

    Attributes:
        way: How the scans were labelled.
        scans: How many.
        actions: Clicks and keys that they took, together.
        right: Share of the points that have the true label then.
        miou: Instance mIoU of the test objects.
    """

    way: str
    scans: int
    actions: int
    right: float
    miou: float


def actions_to_paint(session: Session, truth: NDArray[np.int64]) -> int:
    """Label a scan that has no labels yet, piece by piece, and return how many clicks and keys that takes."""
    wanted = _majorities(session.pieces, truth)
    common = int(np.bincount(truth).argmax())
    actions = _assign(session, wanted, wanted != common)
    session.fill(common)
    return actions + 1


def actions_to_correct(session: Session, truth: NDArray[np.int64]) -> int:
    """Correct the pieces whose label is wrong, say that the rest is right, and return the clicks and keys."""
    wanted, given = (_majorities(session.pieces, labels) for labels in (truth, session.now.labels + 1))
    actions = _assign(session, wanted, wanted != given - 1)
    session.check()
    return actions + 1


def _assign(session: Session, wanted: NDArray[np.int64], which: NDArray[np.bool_]) -> int:
    parts = np.unique(wanted[which])
    for part in parts:
        session.select((which & (wanted == part))[session.pieces])
        session.assign(int(part))
    return int(which.sum()) + len(parts)


def _majorities(pieces: NDArray[np.int64], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the commonest label (P,) of each piece."""
    counts = np.zeros((pieces.max() + 1, int(labels.max()) + 1), np.int64)
    np.add.at(counts, (pieces, labels), 1)
    return np.asarray(counts.argmax(axis=1))


class Pool:
    """Objects of a data set, by turns of each category, as scans to label and as a labelled test side.

    Args:
        config: Of the data set.
        categories: Which.
        several: Only objects that truly have several parts.
        output: Where the scans and the labels go.
    """

    def __init__(self, config: Any, categories: Sequence[str], *, several: bool, output: Path) -> None:
        sides = {split: DATASETS.build(config, split=split) for split in ("train", "test")}
        self._data: LabelledDataset = sides["train"]
        for name in categories:
            if name not in self._data.class_names or self._data.parts is None:
                raise PccloraError(f"--categories {name}: {self._data.name} has no parts of it")
        self.rows = list(self._by_turns(self._data, categories, several))
        self._tests = [(sides["test"], row) for row in self._by_turns(sides["test"], categories, several)]
        self._categories, self._output = categories, output

    def start(self, way: str) -> tuple[list[Path], LabelFolder]:
        """Write the scans, and a label folder with the names and the test side."""
        root = self._output / way
        make_folder(root / "scans")
        paths = []
        for place, row in enumerate(self.rows):
            paths.append(root / "scans" / f"{place:03}.npy")
            np.save(paths[-1], self._data[row].points[:, :3])
        for place, (data, row) in enumerate(self._tests):
            name, points, truth, parts = self._object(data, row)
            make_folder(root / "labels" / "test" / name)
            cloud = SegmentedCloud(points, name, parts, tuple(range(len(parts))), truth=truth)
            write_ply(cloud, root / "labels" / "test" / name / f"{place:03}.ply")
        for name in self._categories:
            make_folder(root / "labels" / "train" / name)
        labels = LabelFolder(root / "labels")
        for name in self._categories:
            labels.add_category(name)
            for part in self._parts(name):
                labels.add_part(name, part)
        return paths, labels

    def truth(self, place: int) -> tuple[str, NDArray[np.int64]]:
        """Return the category of a scan, and the true part (N,) of its points, from 0."""
        name, _, truth, _ = self._object(self._data, self.rows[place])
        return name, truth

    def _object(self, data: Any, row: int) -> tuple[str, NDArray[np.floating], NDArray[np.int64], tuple[str, ...]]:
        sample = data[row]
        own = data.parts.of_class[sample.label]
        name = data.class_names[sample.label]
        return name, sample.points[:, :3], np.searchsorted(own, sample.part_labels), self._parts(name)

    def _parts(self, name: str) -> tuple[str, ...]:
        parts: Any = self._data.parts
        own = parts.of_class[self._data.class_names.index(name)]
        return tuple(parts.names[part].removeprefix(f"{name}: ") for part in own)

    @staticmethod
    def _by_turns(data: Any, categories: Sequence[str], several: bool) -> Iterator[int]:
        rows = [np.flatnonzero(data.labels == data.class_names.index(name)).tolist() for name in categories]
        for turn in range(max(map(len, rows))):
            for own in rows:
                if turn < len(own) and (not several or len(np.unique(data[own[turn]].part_labels)) > 1):
                    yield own[turn]


def simulate(
    pool: Pool, way: str, sizes: Sequence[int], output: Path, *, steps: int, first: RunFolder | None = None
) -> Iterator[Measured]:
    """Label as many scans as the largest size, and train at each size.

    Args:
        pool: What there is.
        way: ``painting`` or ``correcting``.
        sizes: Numbers of scans, ascending.
        output: Where runs go.
        steps: Of each training, whatever it is on: so a run on more scans is not just a longer one.
        first: The run at the first size, if there is one: before it there is nothing to correct, so both ways have it.
    """
    paths, labels = pool.start(way)
    session, actions, right = Session(paths, labels), 0, []
    for place in range(sizes[-1]):
        session.open(place)
        category, truth = pool.truth(place)
        session.set_category(category)
        if way == "correcting" and category in (session.runs["run"].classes if session.runs else ()):
            session.propose(session.predict("run"))
        fresh = (session.now.labels == UNLABELLED).any()
        actions += (actions_to_paint if fresh else actions_to_correct)(session, truth)
        right.append(float((session.now.labels == truth).mean()))
        if place + 1 in sizes:
            folder = first if first and place + 1 == sizes[0] else _train(labels, place + 1, steps, output / way)
            session.runs = {"run": load_run(folder.path)}
            miou = folder.read_summary()["metrics"]["instance_miou"]
            yield Measured(way, place + 1, actions, float(np.mean(right)), miou)


def _train(labels: LabelFolder, scans: int, steps: int, output: Path) -> RunFolder:
    epochs = math.ceil(steps / math.ceil(scans / BATCH))
    words = [f"train.epochs={epochs}", f"train.eval_every={epochs}", f"train.batch_size={BATCH}"]
    words += ["data=part_folder", f"data.root={labels.root}"]
    return train(load_config(PartSegmentationRun, overrides=words), output / f"run_{scans}")


def draw(measured: Sequence[Measured], target: Path, *, title: str) -> None:
    """Draw instance mIoU over the scans and over the actions."""
    figure = Figure((8.4, 3.6), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2, sharey=True), ("scans", "actions"), strict=True):
        for way, colour in WAYS.items():
            own = [row for row in measured if row.way == way]
            axes.plot(
                [getattr(row, axis) for row in own], [100 * row.miou for row in own], "o-", color=colour, label=way
            )
        axes.set_xscale("log")
        axes.set_xticks(sorted({getattr(row, axis) for row in measured if axis == "scans" or row.way == "painting"}))
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_xlabel("labelled scans" if axis == "scans" else "clicks and keys")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("instance mIoU (%)")
    figure.axes[1].legend(frameon=False, loc="lower right")
    figure.suptitle(title, fontsize=11)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def main() -> None:
    """Parse, label, train, print."""
    parser = Parser(__doc__)
    parser.add_argument("--categories", nargs="+", required=True, metavar="NAME", help="of the data set")
    parser.add_argument("--several", action="store_true", help="only objects that have several parts")
    parser.add_argument("--sizes", nargs="+", type=int, default=[4, 8, 16, 32, 64], metavar="N", help="labelled scans")
    parser.add_argument("--steps", type=int, default=160, metavar="N", help=f"of a training, by {BATCH} scans")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for scans, labels, runs, the table")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="the data set: data=... data.root=...")
    arguments = parser.parse_words()
    config = load_config(PartSegmentationRun, overrides=arguments.overrides)
    pool = Pool(config.data, arguments.categories, several=arguments.several, output=arguments.output)
    least, most = len(arguments.categories), len(pool.rows)
    sizes = [size for size in sorted(arguments.sizes) if least <= size <= most]
    if not sizes:
        raise PccloraError(f"--sizes: numbers from {least}, one a category, to {most}, which there are, are needed")
    measured: list[Measured] = []
    console.write(f"{'':<12}{'scans':>6}{'actions':>9}{'right':>8}{'mIoU':>8}\n")
    first = None
    for way in WAYS:
        for row in simulate(pool, way, sizes, arguments.output, steps=arguments.steps, first=first):
            measured.append(row)
            console.write(f"{way:<12}{row.scans:>6}{row.actions:>9}{row.right:>8.1%}{row.miou:>8.1%}\n")
        first = RunFolder(arguments.output / way / f"run_{sizes[0]}")
    write_rows(
        arguments.output / "labelling.csv", list(vars(measured[0])), [list(vars(row).values()) for row in measured]
    )
    draw(measured, arguments.output / "labelling.png", title=", ".join(arguments.categories))


if __name__ == "__main__":
    run_tool(main)
