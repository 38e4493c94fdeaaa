"""Checks a copy of VTAB-1K: the lists, how many images they name, their labels, and that every image can be decoded.

    pcclora prepare vtab1k ROOT [--tasks cifar dtd] [--jobs 4] [--incomplete]

ROOT holds one folder a task. Nothing is written; all that is wrong is named, and the exit code is 2 if anything is.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pcclora.commands import spelled
from pcclora.data.readers.files import require_folder, where_to_get_it
from pcclora.data.sets.image_check import check_images
from pcclora.data.sets.image_lists import Listing, find_task, read_listing
from pcclora.data.sets.vtab1k import CARD, TASKS, find_class_names
from pcclora.errors import PccloraError
from pcclora.tools.prepare import check_each
from pcclora.tools.shared.parser import Parser

COUNTS = {"train800": 800, "val200": 200, "train800val200": 1000}
TEST = {
    "cifar": 10_000,
    "caltech101": 6_084,
    "dtd": 1_880,
    "oxford_flowers102": 6_149,
    "oxford_iiit_pet": 3_669,
    "svhn": 26_032,
    "sun397": 21_750,
    "patch_camelyon": 32_768,
    "eurosat": 5_400,
    "resisc45": 6_300,
    "diabetic_retinopathy": 42_670,
    "clevr_count": 15_000,
    "clevr_dist": 15_000,
    "dmlab": 22_735,
    "kitti": 711,
    "dsprites_loc": 73_728,
    "dsprites_ori": 73_728,
    "smallnorb_azi": 12_150,
    "smallnorb_ele": 12_150,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the tasks; raise an error that names all that is wrong with any."""
    options = parse(arguments)
    root = require_folder(options.root, "vtab1k", CARD)
    checks = {task: partial(check, task, root, options) for task in options.tasks or TASKS}
    check_each(checks, remedy=where_to_get_it("vtab1k"))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser(__doc__, prog=spelled("pcclora prepare vtab1k"))
    parser.add_argument("root", type=Path, help="the folder of the tasks' folders")
    parser.add_argument(
        "--tasks", nargs="+", metavar="TASK", help="only these (default: all 19); other names may be own tasks"
    )
    parser.add_argument("--jobs", type=int, default=-1, help="processes that decode (default: one a core)")
    parser.add_argument(
        "--incomplete", action="store_true", help="accept other numbers of images than the official ones"
    )
    return parser.parse_args(arguments)


def check(task: str, root: Path, options: argparse.Namespace) -> str:
    """Return what a task has, or raise an error that names all that is wrong with it."""
    folder = find_task(root, task, [task], TASKS, what="vtab1k", remedy=CARD)
    lists = {name: read_listing(folder / f"{name}.txt", remedy=CARD) for name in (*COUNTS, "test")}
    classes = len(find_class_names(folder))
    problems = [] if options.incomplete else wrong_counts(lists, folder.name)
    problems += wrong_labels(lists, classes)
    problems += check_images(list(lists.values()), title=folder.name, jobs=options.jobs)
    if problems:
        raise PccloraError("\n  ".join([f"{len(problems)} problems", *problems]))
    found = ", ".join(f"{name} {len(listing.files):,}" for name, listing in lists.items())
    return f"{found} images of {classes} classes, each decoded"


def wrong_counts(lists: dict[str, Listing], task: str) -> list[str]:
    """Return a line for each list that has another number of images than the official one."""
    expected = COUNTS | ({"test": TEST[task]} if task in TEST else {})
    return [
        f"{name}.txt names {len(lists[name].files):,} images, {count:,} are expected; or pass --incomplete"
        for name, count in expected.items()
        if len(lists[name].files) != count
    ]


def wrong_labels(lists: dict[str, Listing], classes: int) -> list[str]:
    """Return a line for each label that is of no class, and one where the 1,000 are not the 800 and the 200."""
    problems = [
        f"{place}: label {label} is not in 0..{classes - 1}"
        for listing in lists.values()
        for label, place in zip(listing.labels.tolist(), listing.places, strict=True)
        if label >= classes
    ]
    parts = [*lists["train800"].labels.tolist(), *lists["val200"].labels.tolist()]
    if sorted(parts) != sorted(lists["train800val200"].labels.tolist()):
        problems.append("train800val200.txt has not the classes of train800.txt and val200.txt together")
    return problems
