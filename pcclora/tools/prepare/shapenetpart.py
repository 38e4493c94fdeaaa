"""Checks a copy of ShapeNetPart or of a data set in its form, and makes one memory-mapped file a split of its text.

    pcclora prepare shapenetpart ROOT [--check] [--incomplete]

The file holds the points and part labels as they are in the text, float32; every label is checked against its category.
The loader finds it by itself.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from pcclora.commands import spelled
from pcclora.data import ShapeNetPartConfig
from pcclora.data.readers.files import check_points, require_folder
from pcclora.data.readers.prepared_parts import open_prepared_parts, save_prepared_parts
from pcclora.data.sets.seg_classes import SHAPENETPART
from pcclora.data.sets.shapenetpart import SPLITS, Shapes, open_list, prepared_file
from pcclora.data.sets.shapenetpart_text import CARD
from pcclora.errors import PccloraError
from pcclora.tools.prepare import check_each
from pcclora.tools.shared.parser import Parser

# Counted in the official lists, in the order of the categories.
EXPECTED = {
    "train": (1958, 54, 39, 659, 2658, 49, 550, 277, 1118, 324, 125, 130, 209, 46, 106, 3835),
    "val": (391, 8, 5, 81, 396, 6, 78, 35, 143, 44, 26, 16, 30, 8, 15, 588),
    "test": (341, 14, 11, 158, 704, 14, 159, 80, 286, 83, 51, 38, 44, 12, 31, 848),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the three splits and prepare what is slow; raise an error that names all that is wrong with any."""
    options = parse(arguments)
    root = require_folder(options.root, "shapenetpart", CARD)
    how = {"check": options.check, "incomplete": options.incomplete}
    checks = {split: partial(handle, root, split, **how) for split in SPLITS}
    check_each(checks, kept=None if options.check else root)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser(__doc__, prog=spelled("pcclora prepare shapenetpart"))
    parser.add_argument("root", type=Path, help="the folder of synsetoffset2category.txt")
    parser.add_argument("--check", action="store_true", help="only say what is there; write nothing")
    parser.add_argument("--incomplete", action="store_true", help="use the listed objects that are there")
    return parser.parse_args(arguments)


def handle(root: Path, split: str, *, check: bool, incomplete: bool) -> str:
    """Check one split, prepare it where it is text, and return what was found and done."""
    form: Literal["prepared", "text"] = "prepared" if is_prepared(root, split) else "text"
    shapes = open_list(root, split, ShapeNetPartConfig(root=str(root), incomplete=incomplete, form=form))
    counts = np.bincount(shapes.labels, minlength=len(shapes.class_names))
    if shapes.class_names == tuple(SHAPENETPART) and not incomplete:
        check_counts(split, counts, shapes.class_names)
    found = f"{len(shapes.names)} objects of {np.count_nonzero(counts)} categories in the form '{shapes.form}'"
    if shapes.form == "prepared":
        return f"{found}; nothing to do, this form is fast"
    if check:
        return f"{found}; run without --check to make it fast"
    path = prepared_file(root, split)
    save_prepared_parts(
        path,
        clouds=[checked(shapes, row) for row in tqdm(range(len(shapes.names)), desc=f"reading {split}", unit="cloud")],
        labels=shapes.labels,
        class_names=shapes.class_names,
        parts=shapes.parts,
        names=shapes.names,
        listed=shapes.listed,
    )
    return f"{found}; wrote {path} ({path.stat().st_size / 1e6:.1f} MB)"


def is_prepared(root: Path, split: str) -> bool:
    """Say if there is a prepared file of all the objects that the official list has."""
    file = prepared_file(root, split)
    if not file.is_file():
        return False
    made = open_prepared_parts(file)
    return len(made.names) == made.listed


def check_counts(split: str, counts: np.ndarray, class_names: Sequence[str]) -> None:
    """Refuse another number of objects of a category than the official list has."""
    wrong = [
        f"{name} {count} for {expected}"
        for name, count, expected in zip(class_names, counts, EXPECTED[split], strict=True)
        if count != expected
    ]
    if wrong:
        raise PccloraError(
            f"{sum(counts)} objects, {sum(EXPECTED[split])} are expected ({', '.join(wrong)}); complete the download, "
            "or pass --incomplete"
        )


def checked(shapes: Shapes, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and part labels of an object, after the checks that the loader makes."""
    points, part_labels = shapes.rows[row]
    shapes.parts.check(part_labels, int(shapes.labels[row]), shapes.places[row])
    return check_points(points, shapes.places[row]), part_labels
