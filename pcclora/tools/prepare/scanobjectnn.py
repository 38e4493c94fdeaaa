"""Checks a copy of ScanObjectNN: keys, shapes, labels, numbers of objects, background share. It writes nothing.

    pcclora prepare scanobjectnn ROOT [--variant OBJ_BG PB_T50_RS] [--incomplete]

The h5 files are read in seconds: there is no faster form to make.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pcclora.commands import spelled
from pcclora.data import ScanObjectNNConfig, scanobjectnn
from pcclora.data.readers.files import require_folder, where_to_get_it
from pcclora.data.sets.scanobjectnn import CARD, CLASS_NAMES, SPLITS, VARIANTS, variant_file
from pcclora.errors import PccloraError
from pcclora.tools.prepare import check_each
from pcclora.tools.shared.parser import Parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the variants that are asked for, or all that are there; raise an error that names all that is wrong."""
    options = parse(arguments)
    root = require_folder(options.root, "scanobjectnn", CARD)
    sides = [(variant, split) for variant in options.variant or present(root) for split in SPLITS]
    checks = {f"{variant} {split}": partial(describe, variant, split, options) for variant, split in sides}
    check_each(checks, remedy=where_to_get_it("scanobjectnn"))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser(__doc__, prog=spelled("pcclora prepare scanobjectnn"))
    parser.add_argument("root", type=Path, help="the folder of main_split and main_split_nobg")
    parser.add_argument("--variant", nargs="+", choices=list(VARIANTS), help="which (default: all that are there)")
    parser.add_argument(
        "--incomplete", action="store_true", help="accept other numbers of objects than the official ones"
    )
    return parser.parse_args(arguments)


def present(root: Path) -> list[str]:
    """Return the variants of which a folder holds at least one split."""
    found = [name for name in VARIANTS if any(variant_file(root, name, split).is_file() for split in SPLITS)]
    if not found:
        raise PccloraError(f"{root}: holds no file of any variant; {CARD}")
    return found


def describe(variant: Any, split: str, options: argparse.Namespace) -> str:
    """Read every object of one split and return what there is."""
    config = ScanObjectNNConfig(root=str(options.root), variant=variant, incomplete=options.incomplete)
    dataset = scanobjectnn(config, split=split)
    sizes = {len(dataset[index].points) for index in range(len(dataset))}  # reading checks each cloud
    classes = np.bincount(dataset.labels, minlength=len(CLASS_NAMES))
    background = "no mask" if dataset.on_object is None else f"{100 - 100 * dataset.on_object.mean():.1f} % background"
    counts = ", ".join(f"{name} {count}" for name, count in zip(CLASS_NAMES, classes, strict=True))
    return f"{len(dataset):,} objects, {' or '.join(map(str, sorted(sizes)))} points, {background}: {counts}"
