"""Predict with a finished run: the class of point clouds or photographs, or the part of each point of a cloud.

pcclora predict scan.ply chair.off --run runs/cls/...
pcclora predict SCANS --run runs/cls/... --up z        all files below a folder; z is their vertical axis
pcclora predict photo.jpg --run runs/image/...
pcclora predict *.npy --run runs/cls/... --json > probabilities.json
pcclora predict SCANS --run runs/cls/... --html scans.html                a page that shows them with their classes
pcclora predict scan.ply --run runs/partseg/... --category chair --html scan.html --ply parts.ply
pcclora predict SCANS --run runs/cls/... --then runs/partseg/...          the class, then the parts of that category
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pcclora.data import AXES
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.runs.inputs import gather, reading
from pcclora.runs.reload import TrainedRun
from pcclora.runs.report import class_answers, class_shares, part_shares, parts_table, prediction_table
from pcclora.runs.segmented import SegmentedCloud
from pcclora.tools.shared import cli
from pcclora.vis import Camera, draw_clouds, draw_gallery
from pcclora.vis.page import write_page
from pcclora.vis.ply import write_ply
from pcclora.vis.sources import classified_files, shortened


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="ply pcd obj npy txt las ...; jpg png ...; or a folder of them",
    )
    cli.add_trained_run_options(parser)
    parser.add_argument("--up", choices=AXES, help="the vertical axis of these files, if not that of the run's own")
    parser.add_argument(
        "--columns", metavar="x,y,z,...", help="what the columns of these tables are, if not as the run's"
    )
    parser.add_argument("--json", action="store_true", help="all that was found of each file, as JSON")
    seen = parser.add_argument_group("to see what was found in clouds")
    seen.add_argument("--png", type=Path, metavar="FILE", help="a picture")
    seen.add_argument("--html", type=Path, metavar="FILE", help="a page for the browser, in one file")
    seen.add_argument("--title", default="", metavar="WORDS", help="of these; by default the names of the files")
    parts = parser.add_argument_group("part segmentation")
    parts.add_argument("--then", type=Path, metavar="DIR", help="a run for the parts of what --run finds the class of")
    parts.add_argument("--category", help="what the objects are; needed where the run has several categories")
    parts.add_argument("--ply", type=Path, metavar="FILE", help="the cloud with colours, parts and probabilities")
    arguments = cli.parse(parser)
    if arguments.dry_run:
        cli.show_dry_run(cli.config_of(arguments), arguments)
        return
    run = TrainedRun.open(arguments.run, checkpoint=arguments.checkpoint, device=None)
    given, _ = gather(arguments.files, images=run.task == "image")
    if arguments.ply and len(given) > 1:
        raise PccloraError(f"--ply {arguments.ply}: takes one cloud; give one file, not {len(given)}")
    arguments.given, arguments.files = given, [one.name for one in given]
    answer = _both if arguments.then else _parts if run.task == "partseg" else _classes
    found, text = answer(run, arguments)
    wrote = "".join(f"wrote {target}\n" for target in (arguments.ply, arguments.png, arguments.html) if target)
    console.write(json.dumps(found, indent=2) + "\n" if arguments.json else text + wrote)


def _classes(run: TrainedRun, arguments: argparse.Namespace) -> tuple[object, str]:
    names = ("category", "ply") if run.task == "cls" else ("category", "png", "html", "ply")
    for name in names:
        if getattr(arguments, name):
            where = "a part-segmentation run" if name in ("category", "ply") else "a run on point clouds"
            raise PccloraError(f"--{name}: {run.path} predicts classes; this option is for {where}")
    predictions = run.predict(arguments.files, **_how(arguments))
    if arguments.png or arguments.html:
        clouds = classified_files(arguments.given, predictions, reading(run.config.data, **_how(arguments)))
        _draw(clouds, arguments, run)
    return class_answers(predictions), prediction_table(class_shares(predictions))


def _both(run: TrainedRun, arguments: argparse.Namespace) -> tuple[object, str]:
    then = TrainedRun.open(arguments.then, device=None)
    found = run.predict(arguments.files, category=arguments.category, then=then, **_how(arguments))
    clouds = [one.parts for one in found if one.parts is not None]
    _draw(clouds, arguments, run)
    classes, parts = class_shares(found), part_shares(clouds)
    together = {file: {**own, **parts.get(file, {})} for file, own in class_answers(found).items()}
    return together, prediction_table(classes) + parts_table(parts)


def _parts(run: TrainedRun, arguments: argparse.Namespace) -> tuple[object, str]:
    clouds = run.predict(arguments.files, category=arguments.category, **_how(arguments))
    _draw(clouds, arguments, run)
    shares = part_shares(clouds)
    return shares, parts_table(shares)


def _draw(clouds: list[SegmentedCloud], arguments: argparse.Namespace, run: TrainedRun) -> None:
    camera = Camera(up=reading(run.config.data, up=arguments.up).up)
    wanted = [name for name in ("png", "html", "ply") if getattr(arguments, name)]
    if wanted and not clouds:
        raise PccloraError(
            f"--{wanted[0]}: no file is of a category of {arguments.then}, so there are no parts to show"
        )
    title = arguments.title or shortened(clouds)
    if arguments.png and any(cloud.parts for cloud in clouds):
        draw_gallery(clouds, arguments.png, camera=camera)
    elif arguments.png:
        draw_clouds({"": clouds}, arguments.png, title=title, camera=camera)
    if arguments.html:
        write_page(clouds, arguments.html, title=title, camera=camera)
    if arguments.ply:
        write_ply(clouds[0], arguments.ply)


def _how(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"up": arguments.up, "columns": arguments.columns.split(",") if arguments.columns else ()}
