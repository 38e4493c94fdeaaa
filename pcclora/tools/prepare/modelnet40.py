"""Checks a copy of ModelNet40 or ModelNet10, and turns a slow form (text, dat) into one memory-mapped file a split.

    pcclora prepare modelnet40 ROOT [--classes 10] [--points 2048] [--check] [--incomplete]

The file holds float32 clouds, normalised over the 8,192 points that the peers keep and stored in farthest-point order,
so that the first k points are the exact farthest-point sample of k. The loader finds it by itself.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pcclora.commands import spelled
from pcclora.data import ModelNetConfig, modelnet, normalize_unit_sphere
from pcclora.data.readers.files import require_folder, where_to_get_it
from pcclora.data.readers.prepared import save_prepared
from pcclora.data.sets.arrays import ArrayDataset
from pcclora.data.sets.modelnet import CARD, SPLITS, prepared_file
from pcclora.errors import PccloraError
from pcclora.ops import sample_farthest_points
from pcclora.tools.prepare import check_each
from pcclora.tools.shared.parser import Parser

EXPECTED: dict[int, dict[str, tuple[int, ...]]] = {
    40: {"train": (9843, 9840), "test": (2468,)},
    10: {"train": (3991,), "test": (908,)},
}
KEPT_BY_PEERS = 8192


def main(arguments: Sequence[str] | None = None) -> None:
    """Check both splits and prepare what is slow; raise an error that names all that is wrong with either."""
    options = parse(arguments)
    require_folder(options.root, f"ModelNet{options.classes}", CARD)
    checks = {split: partial(handle, split, options) for split in SPLITS}
    check_each(checks, remedy=where_to_get_it("modelnet40"), kept=None if options.check else options.root)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = Parser(__doc__, prog=spelled("pcclora prepare modelnet40"))
    parser.add_argument("root", type=Path, help="the folder with the lists, the .dat or the .h5 files")
    parser.add_argument("--classes", type=int, choices=sorted(EXPECTED), default=40)
    parser.add_argument("--points", type=int, default=2048, help="points to keep of each cloud (default: 2048)")
    parser.add_argument("--check", action="store_true", help="only say what is there; write nothing")
    parser.add_argument(
        "--incomplete", action="store_true", help="accept other numbers of objects than the official ones"
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.points <= KEPT_BY_PEERS:
        parser.error(f"--points must be 1 to {KEPT_BY_PEERS}, not {options.points}")
    return options


def handle(split: str, options: argparse.Namespace) -> str:
    """Check one split, prepare it where its form is slow, and return what was found and done."""
    dataset = modelnet(ModelNetConfig(root=str(options.root), classes=options.classes), split=split)
    expected = EXPECTED[options.classes][split]
    found = f"{len(dataset)} objects in the form '{dataset.form}'"
    if len(dataset) not in expected and not options.incomplete:
        raise PccloraError(f"{found}, {expected[0]} are expected; complete the download, or pass --incomplete")
    if dataset.form in ("prepared", "h5"):
        return f"{found}, {len(dataset[0].points)} points each; nothing to do, this form is fast"
    if options.check:
        return f"{found}; run without --check to make it fast"
    path = prepared_file(options.root, options.classes, split)
    save_prepared(
        path,
        points=clouds(dataset, options.points),
        labels=dataset.labels,
        class_names=dataset.class_names,
        places=[f"{path}[{row}]" for row in range(len(dataset))],
    )
    return f"{found}; wrote {path} ({path.stat().st_size / 1e6:.0f} MB, {options.points} points a cloud)"


def clouds(dataset: ArrayDataset, count: int) -> np.ndarray:
    """Return (M, count, 3) float32, each normalised and in farthest-point order."""
    out = np.empty((len(dataset), count, 3), dtype=np.float32)
    for index in tqdm(range(len(dataset)), desc=f"preparing {dataset.split}", unit="cloud"):
        points = dataset[index].points
        if len(points) < count:
            raise PccloraError(f"{dataset[index].path} has {len(points)} points; pass --points {len(points)} or fewer")
        if not dataset.fps_ordered:
            points = farthest_first(points, min(KEPT_BY_PEERS, len(points)))
        out[index] = normalize_unit_sphere(points[:KEPT_BY_PEERS])[:count]
    return out


def farthest_first(points: np.ndarray, count: int) -> np.ndarray:
    """Return the farthest-point sample (count, 3) of a cloud, in order."""
    return sample_farthest_points(torch.from_numpy(points)[None], K=count)[0][0].numpy()
