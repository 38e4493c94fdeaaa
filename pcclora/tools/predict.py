"""Predict with a finished run: the class of point clouds or photographs, or the part of each point of a cloud.

pcclora predict scan.ply chair.off --run runs/cls/...
pcclora predict SCANS --run runs/cls/... --up z        all files below a folder; z is their vertical axis
pcclora predict photo.jpg --run runs/image/...
pcclora predict *.npy --run runs/cls/... --json > probabilities.json
pcclora predict scan.ply --run runs/partseg/... --category chair --html scan.html --ply parts.ply
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pcclora.data import AXES
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.runs.predict import input_files, predict_files, predict_parts, reading
from pcclora.runs.reload import TrainedRun
from pcclora.runs.report import part_shares, parts_table, prediction_table
from pcclora.text import visible
from pcclora.tools.shared import cli
from pcclora.vis import Camera, draw_gallery
from pcclora.vis.page import write_page
from pcclora.vis.ply import write_ply


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
    parts = parser.add_argument_group("part segmentation")
    parts.add_argument("--category", help="what the objects are; needed where the run has several categories")
    parts.add_argument("--png", type=Path, metavar="FILE", help="a picture of the parts")
    parts.add_argument("--html", type=Path, metavar="FILE", help="a page that shows them, in one file")
    parts.add_argument("--ply", type=Path, metavar="FILE", help="the cloud with colours, parts and probabilities")
    arguments = cli.parse(parser)
    if arguments.dry_run:
        cli.show_dry_run(cli.config_of(arguments), arguments)
        return
    run = TrainedRun.open(arguments.run)
    found, text = (_parts if run.config.task == "partseg" else _classes)(run, arguments)
    console.write(json.dumps(found, indent=2) + "\n" if arguments.json else text)


def _classes(run: TrainedRun, arguments: argparse.Namespace) -> tuple[object, str]:
    for name in ("category", "png", "html", "ply"):
        if getattr(arguments, name):
            raise PccloraError(f"--{name}: {run.path} predicts classes; this option is for a part-segmentation run")
    files = input_files(run, arguments.files)
    found = predict_files(run, files, **_how(arguments), checkpoint=arguments.checkpoint)
    return found, prediction_table(found)


def _parts(run: TrainedRun, arguments: argparse.Namespace) -> tuple[object, str]:
    files = input_files(run, arguments.files)
    if arguments.ply and len(files) > 1:
        raise PccloraError(f"--ply {arguments.ply}: takes one cloud; give one file, not {len(files)}")
    options = {"category": arguments.category, "checkpoint": arguments.checkpoint, **_how(arguments)}
    clouds = predict_parts(run, files, **options)
    camera = Camera(up=reading(run.config.data, up=arguments.up).up)
    if arguments.png:
        draw_gallery(clouds, arguments.png, camera=camera)
    if arguments.html:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        title = " · ".join(visible(file.name) for file in files[:3]) + more
        write_page(clouds, arguments.html, title=title, camera=camera)
    if arguments.ply:
        write_ply(clouds[0], arguments.ply)
    shares = part_shares({str(file): cloud for file, cloud in zip(files, clouds, strict=True)})
    return shares, parts_table(shares)


def _how(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"up": arguments.up, "columns": arguments.columns.split(",") if arguments.columns else ()}
