"""Checks a copy of the five FGVC sets: VPT's splits, how many images they name, and that each can be decoded.

    pcclora prepare fgvc ROOT [--tasks nabirds] [--jobs 4] [--incomplete]

ROOT holds one folder a set. Nothing is written; all that is wrong is named, and the exit code is 2 if anything is.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pcclora.commands import spelled
from pcclora.data.readers.files import require_folder, where_to_get_it
from pcclora.data.sets.fgvc import CARD, FOLDERS, TASKS, read_split
from pcclora.data.sets.image_check import check_images
from pcclora.data.sets.image_lists import find_task
from pcclora.errors import PccloraError
from pcclora.tools.prepare import check_each
from pcclora.tools.shared.parser import Parser

COUNTS = {
    "cub_200_2011": (5_394, 600, 5_794),
    "nabirds": (21_536, 2_393, 24_633),
    "oxford_flowers": (1_020, 1_020, 6_149),
    "stanford_cars": (7_329, 815, 8_041),
    "stanford_dogs": (10_800, 1_200, 8_580),
}
SPLITS = ("train", "val", "test")


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the sets; raise an error that names all that is wrong with any."""
    options = parse(arguments)
    root = require_folder(options.root, "fgvc", CARD)
    checks = {task: partial(check, task, root, options) for task in options.tasks or TASKS}
    check_each(checks, remedy=where_to_get_it("fgvc"))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser(__doc__, prog=spelled("pcclora prepare fgvc"))
    parser.add_argument("root", type=Path, help="the folder of the sets' folders")
    parser.add_argument(
        "--tasks", nargs="+", choices=list(TASKS), metavar="TASK", help=f"only these: {', '.join(TASKS)}"
    )
    parser.add_argument("--jobs", type=int, default=-1, help="processes that decode (default: one a core)")
    parser.add_argument(
        "--incomplete", action="store_true", help="accept other numbers of images and classes than VPT's"
    )
    return parser.parse_args(arguments)


def check(task: str, root: Path, options: argparse.Namespace) -> str:
    """Return what a set has, or raise an error that names all that is wrong with it."""
    folder = find_task(root, task, [FOLDERS[task][0], task], TASKS, what="fgvc", remedy=CARD)
    listings = {split: read_split(folder / f"{split}.json", folder / FOLDERS[task][1]) for split in SPLITS}
    known = set(listings["train"].labels.tolist())
    problems = [
        f"{place}: class {label} has no training image"
        for listing in listings.values()
        for label, place in zip(listing.labels.tolist(), listing.places, strict=True)
        if label not in known
    ]
    if not options.incomplete:
        problems += [
            f"{split}.json names {len(listings[split].files):,} images, {count:,} are expected; or pass --incomplete"
            for split, count in zip(SPLITS, COUNTS[task], strict=True)
            if len(listings[split].files) != count
        ]
        if len(known) != TASKS[task].classes:
            problems.append(f"train.json has {len(known)} classes, {TASKS[task].classes} are expected")
    problems += check_images(list(listings.values()), title=task, jobs=options.jobs)
    if problems:
        raise PccloraError("\n  ".join([f"{len(problems)} problems", *problems]))
    found = ", ".join(f"{split} {len(listing.files):,}" for split, listing in listings.items())
    return f"{found} images of {len(known)} classes, each decoded"
