"""See segmented objects: in a window, in a picture, on a web page, in a PLY file.

pcclora visualize --run runs/partseg/RUN                    best, median and worst test shape, in a window
pcclora visualize --run runs/partseg/RUN --worst 6 --html worst.html
pcclora visualize --run runs/partseg/RUN --index 0 5 --png shapes.png --tokens
pcclora visualize data=part_folder data.root=MY_SCANS --index 0 1 2       the true parts of a data set
pcclora visualize labelled.ply --up z                                     the labels and colours of a file
"""

import argparse
from pathlib import Path
from typing import Any

from pcclora.config import load_config
from pcclora.data import AXES
from pcclora.engine import console
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.runs.part_views import segmented_test_shapes
from pcclora.runs.reload import TrainedRun
from pcclora.runs.segmented import SegmentedCloud
from pcclora.tasks.registry import task_of
from pcclora.tasks.settings import PartSegmentationRun
from pcclora.tools.shared import cli
from pcclora.tools.shared.parser import Parser
from pcclora.vis import Camera, Tokens, draw_gallery, show, write_page, write_ply
from pcclora.vis.runs import extremes, worst
from pcclora.vis.sources import labelled_file, samples_of

Captioned = tuple[list[SegmentedCloud], list[str]]


def main() -> None:
    """Parse, build, call."""
    arguments = cli.parse(_parser())
    files = [Path(word) for word in arguments.overrides if "=" not in word]
    overrides = [word for word in arguments.overrides if "=" in word]
    _refuse_contradictions(arguments, files, overrides)
    config: Any
    if arguments.run:
        config = cli.config_of(arguments)
    else:
        config = load_config(PartSegmentationRun, overrides=overrides)
    if arguments.dry_run:
        cli.show_dry_run(config, arguments)
        return
    clouds, captions = _clouds(arguments, files, config)
    _refuse_turning_twice(arguments, files, config)
    shown = ", ".join(file.name for file in files) or f"{DATASETS.name_of(config.data)}, split {arguments.split}"
    _show(arguments, clouds, captions, config, title=str(arguments.run or shown))


def _parser() -> Parser:
    parser = cli.make_parser(__doc__)
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of a finished part-segmentation run")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--index", type=int, nargs="+", metavar="N", help="which objects, counted from 0")
    which.add_argument("--worst", type=int, metavar="N", help="the N test shapes of least mIoU")
    parser.add_argument("--split", default="test", help="of a data set without a run")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write a picture; needs no display")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a web page, complete in one file")
    parser.add_argument("--ply", type=Path, metavar="FILE", help="write one object for MeshLab or CloudCompare")
    parser.add_argument("--tokens", action="store_true", help="also what the transformer sees of a cloud")
    parser.add_argument("--up", choices=AXES, help="the vertical axis of a file (default: y)")
    parser.add_argument("--azimuth", type=float, metavar="DEGREES", help="turn; by default nothing is seen edge-on")
    parser.add_argument("--elevation", type=float, default=Camera.elevation, metavar="DEGREES", help="height")
    parser.add_argument("--renderer", choices=("auto", "open3d", "splat"), default="auto", help="what draws the PNG")
    parser.add_argument("overrides", nargs="*", metavar="FILE|key=value", help="labelled files, or a data set")
    return parser


def _refuse_contradictions(arguments: argparse.Namespace, files: list[Path], overrides: list[str]) -> None:
    given = [name for name, value in {"--run": arguments.run, "files": files, "key=value": overrides}.items() if value]
    if len(given) > 1:
        raise PccloraError(f"{' and '.join(given)}: what is shown comes from one of them; leave out the others")
    if arguments.worst is not None and (not arguments.run or arguments.worst < 1):
        raise PccloraError(f"--worst {arguments.worst}: a number from 1 is needed, and --run DIR")
    if arguments.index and files:
        raise PccloraError("--index: is of the objects of a run or a data set; files are shown as they are")


def _refuse_turning_twice(arguments: argparse.Namespace, files: list[Path], config: Any) -> None:
    up = config.data.up or "y"
    if arguments.up and not files and up != "y":
        raise PccloraError(f"--up {arguments.up}: these objects are turned upright as they are read, by data.up={up}")


def _clouds(arguments: argparse.Namespace, files: list[Path], config: Any) -> Captioned:
    """Return what is shown, and the captions of the best, the median and the worst test shape."""
    if files:
        return [labelled_file(file) for file in files], []
    if not arguments.run:
        dataset = DATASETS.build(config.data, split=arguments.split)
        return samples_of(dataset, arguments.index or range(min(3, len(dataset)))), []
    run = TrainedRun(RunFolder.open(arguments.run))  # a pack has nothing to show: no test predictions, no data
    if arguments.index or arguments.worst:
        return segmented_test_shapes(run, arguments.index or worst(run.folder, arguments.worst)), []
    chosen = extremes(run.folder)
    return segmented_test_shapes(run, list(chosen.values())), list(chosen)


def _show(
    arguments: argparse.Namespace, clouds: list[SegmentedCloud], captions: list[str], config: Any, *, title: str
) -> None:
    model, tokens = config.model, None
    if arguments.tokens:
        groups = model.groups_of(task_of(config).head)
        tokens = Tokens(num_groups=groups, group_size=model.group_size, points=config.points)
    camera = Camera(azimuth=arguments.azimuth, elevation=arguments.elevation, up=arguments.up or "y")
    if arguments.ply and len(clouds) > 1:
        raise PccloraError(f"--ply {arguments.ply}: takes one object, not {len(clouds)}; choose one: --index N")
    if arguments.ply:
        write_ply(clouds[0], arguments.ply)
    if arguments.png:
        options = {"tokens": tokens, "camera": camera, "renderer": arguments.renderer}
        draw_gallery(clouds, arguments.png, captions=captions, **options)
    if arguments.html:
        write_page(clouds, arguments.html, title=title, tokens=tokens, camera=camera)
    written = [target for target in (arguments.ply, arguments.png, arguments.html) if target]
    if written:
        console.write("".join(f"wrote {target}\n" for target in written), kept=written[0])
    else:
        show(clouds, tokens=tokens, camera=camera)
