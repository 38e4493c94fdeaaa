"""See clouds and what a run says of their class or parts: in a window, in a picture, on a web page, in a PLY file.

pcclora visualize --run runs/cls/RUN --html run.html        surest wrong and right answers, least sure ones, on a page
pcclora visualize --run runs/partseg/RUN                    best, median and worst test shape, in a window
pcclora visualize --run runs/partseg/RUN --worst 6 --html worst.html
pcclora visualize --run runs/partseg/RUN --index 0 5 --png shapes.png --tokens
pcclora visualize data=part_folder data.root=MY_SCANS --index 0 1 2       the true parts of a data set
pcclora visualize scan.ply SCANS --up z --png scans.png       any files: their labels, their colours, or their height
"""

import argparse
from pathlib import Path
from typing import Any

from pcclora.config import load_config
from pcclora.data import AXES
from pcclora.engine import console
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.log import logger
from pcclora.registry import DATASETS
from pcclora.runs.answers import answers_of, surest
from pcclora.runs.class_views import classified_test_clouds
from pcclora.runs.inputs import gather
from pcclora.runs.part_views import segmented_test_shapes
from pcclora.runs.reload import TrainedRun
from pcclora.runs.segmented import SegmentedCloud
from pcclora.tasks.settings import PartSegmentationRun
from pcclora.tools.shared import cli
from pcclora.tools.shared.parser import Parser
from pcclora.vis import Camera, draw_clouds, draw_gallery, show, write_page, write_ply
from pcclora.vis.runs import answered_clouds, chosen_shapes, run_title, worst
from pcclora.vis.sources import SHOWN, chosen_of, files_as_they_are, samples_of, shortened
from pcclora.vis.tokens import tokens_of

Sections = dict[str, list[SegmentedCloud]]
"""Heading -> objects."""


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
    sections, title = _objects(arguments, files, config)
    _refuse_turning_twice(arguments, files, config)
    _show(arguments, sections, config, title=arguments.title or title)


def _parser() -> Parser:
    parser = cli.make_parser(__doc__)
    parser.add_argument("--run", type=Path, metavar="DIR", help="folder of a finished run on point clouds")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--index", type=int, nargs="+", metavar="N", help="which objects, counted from 0")
    which.add_argument("--worst", type=int, metavar="N", help="the N surest wrong answers, or shapes of least mIoU")
    parser.add_argument("--split", default="test", help="of a data set without a run")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write a picture; needs no display")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a web page, complete in one file")
    parser.add_argument("--ply", type=Path, metavar="FILE", help="write one object for MeshLab or CloudCompare")
    parser.add_argument("--title", default="", metavar="WORDS", help="of the page or the picture")
    parser.add_argument("--tokens", action="store_true", help="also what the transformer sees of a cloud")
    parser.add_argument("--up", choices=AXES, help="the vertical axis of a file (default: y)")
    parser.add_argument("--azimuth", type=float, metavar="DEGREES", help="turn; by default nothing is seen edge-on")
    parser.add_argument("--elevation", type=float, default=Camera.elevation, metavar="DEGREES", help="height")
    parser.add_argument("--renderer", choices=("auto", "open3d", "splat"), default="auto", help="what draws the PNG")
    parser.add_argument("overrides", nargs="*", metavar="FILE|key=value", help="files and folders, or a data set")
    return parser


def _refuse_contradictions(arguments: argparse.Namespace, files: list[Path], overrides: list[str]) -> None:
    given = [name for name, value in {"--run": arguments.run, "files": files, "key=value": overrides}.items() if value]
    if len(given) > 1:
        raise PccloraError(f"{' and '.join(given)}: what is shown comes from one of them; leave out the others")
    if arguments.worst is not None and (not arguments.run or arguments.worst < 1):
        raise PccloraError(f"--worst {arguments.worst}: a number from 1 is needed, and --run DIR")


def _refuse_turning_twice(arguments: argparse.Namespace, files: list[Path], config: Any) -> None:
    up = config.data.up or "y"
    if arguments.up and not files and up != "y":
        raise PccloraError(f"--up {arguments.up}: these objects are turned upright as they are read, by data.up={up}")


def _objects(arguments: argparse.Namespace, files: list[Path], config: Any) -> tuple[Sections, str]:
    """Return what is shown, by headings, and what it is called."""
    if files:
        given, _ = gather(files, images=False)
        chosen = chosen_of(len(given), arguments.index, most=SHOWN, what="file")
        if len(chosen) < len(given) and not arguments.index:
            logger.warning("%d of %d files are shown; choose others by --index", len(chosen), len(given))
        return {"": files_as_they_are([given[index] for index in chosen])}, shortened(given)
    if not arguments.run:
        dataset = DATASETS.build(config.data, split=arguments.split)
        return {"": samples_of(dataset, arguments.index)}, f"{dataset.name}, {arguments.split}"
    run = TrainedRun(RunFolder.open(arguments.run))  # a pack has nothing to show: no test predictions, no data
    title = run_title(run.summary)
    return (_shapes if run.task == "partseg" else _answers)(run, arguments), title


def _shapes(run: TrainedRun, arguments: argparse.Namespace) -> Sections:
    if arguments.index or arguments.worst:
        return {"": segmented_test_shapes(run, arguments.index or worst(run.folder, arguments.worst))}
    return {name: [shape] for name, shape in chosen_shapes(run).items()}


def _answers(run: TrainedRun, arguments: argparse.Namespace) -> Sections:
    if not (arguments.index or arguments.worst):
        return answered_clouds(run)
    answers = answers_of(run.folder)
    if arguments.index:
        chosen = chosen_of(len(answers), arguments.index, most=SHOWN, what=f"{run.path}: test object")
        return {"": classified_test_clouds(run, [answers[index] for index in chosen])}
    wrong = surest(answers, right=False, count=arguments.worst)
    if not wrong:
        raise PccloraError(f"--worst {arguments.worst}: all {len(answers)} answers of {run.path} are right")
    return {"surest wrong answers": classified_test_clouds(run, wrong)}


def _show(arguments: argparse.Namespace, sections: Sections, config: Any, *, title: str) -> None:
    tokens = tokens_of(config) if arguments.tokens else None
    camera = Camera(azimuth=arguments.azimuth, elevation=arguments.elevation, up=arguments.up or "y")
    clouds = [cloud for own in sections.values() for cloud in own]
    captions = [heading for heading, own in sections.items() for _ in own]
    if arguments.ply and len(clouds) > 1:
        raise PccloraError(f"--ply {arguments.ply}: takes one object, not {len(clouds)}; choose one: --index N")
    if arguments.ply:
        write_ply(clouds[0], arguments.ply)
    if arguments.png:
        how: Any = {"camera": camera, "renderer": arguments.renderer}
        if tokens or any(cloud.parts for cloud in clouds):
            draw_gallery(clouds, arguments.png, captions=captions, tokens=tokens, **how)
        else:
            draw_clouds(sections, arguments.png, title=title, **how)
    if arguments.html:
        write_page(clouds, arguments.html, title=title, captions=captions, tokens=tokens, camera=camera)
    written = [target for target in (arguments.ply, arguments.png, arguments.html) if target]
    if written:
        console.write("".join(f"wrote {target}\n" for target in written), kept=written[0])
    else:
        show(clouds, tokens=tokens, camera=camera)
