"""Look at scans, predict, label their parts and adapt to the labels, in a browser.

pcclora app SCANS                           files or folders; labels in ./labels
pcclora app SCANS --labels MY_LABELS --up z z is the files' vertical axis
pcclora app SCANS --run runs/partseg/RUN    correct what a run says
pcclora app SCANS adapter.r=4               settings of what Adapt trains

docs/app.md is a tour. It is for one person at a time, and listens to this
machine alone unless --host says otherwise.
"""

import argparse
import time
from pathlib import Path

from pcclora.app import LOCAL
from pcclora.data import AXES
from pcclora.data.readers import READERS
from pcclora.data.sets.layouts import walk_files
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.extras import require_extra
from pcclora.log import logger
from pcclora.paths import is_dir
from pcclora.tools.shared import cli
from pcclora.tools.shared.parser import Parser


def main() -> None:
    """Parse, start, wait."""
    arguments = cli.parse(_parser())
    if arguments.dry_run:
        cli.show_dry_run(None, arguments)
        return
    for extra in ("app", "train"):
        require_extra(extra, "the application")
    _serve(arguments)


def _serve(arguments: argparse.Namespace) -> None:
    from pcclora.app.labels import LabelFolder
    from pcclora.app.serving import start_server
    from pcclora.app.session import Session
    from pcclora.app.window import Window
    from pcclora.config import load_config
    from pcclora.runs.load import load_runs
    from pcclora.tasks.settings import PartSegmentationRun

    settings = [word for word in arguments.words if "=" in word]
    load_config(PartSegmentationRun, overrides=settings)  # what is wrong with them shows here, and not at the button
    paths = _files([Path(word) for word in arguments.words if "=" not in word])
    session = Session(paths, LabelFolder(arguments.labels), up=arguments.up, runs=load_runs(arguments.run))
    server, address = start_server(arguments.host, arguments.port, label="pcclora")
    window = Window(server, session, settings=settings)
    if arguments.host != LOCAL:
        logger.warning(
            "--host %s: other machines can reach this port; the address below lets in whoever has it", arguments.host
        )
    scans = "1 scan" if len(paths) == 1 else f"{len(paths)} scans"
    console.write(f"{scans}; labels: {arguments.labels}\nopen {address}\nCtrl-C ends it\n")
    try:
        while True:
            time.sleep(3600)
    finally:
        window.adapting.stop()
        server.stop()


def _parser() -> Parser:
    parser = cli.make_parser(__doc__)
    add = parser.add_argument
    add("words", nargs="*", metavar="SCANS|key=value", help="files and folders; settings of trainings")
    add("--run", type=Path, action="append", default=[], metavar="DIR", help="a finished run to ask; may come again")
    add("--labels", type=Path, default=Path("labels"), metavar="FOLDER", help="where labels are kept (default: labels)")
    add("--up", choices=AXES, default="y", help="the vertical axis of the scans (default: y)")
    add("--port", type=int, default=8080, metavar="N", help="of the address; 0 takes a free one (default: 8080)")
    add("--host", default=LOCAL, metavar="H", help=f"the address to listen at (default: {LOCAL}, this machine alone)")
    return parser


def _files(named: list[Path]) -> list[Path]:
    """Return the files that are meant: a folder stands for all clouds and meshes below it.

    Raises:
        PccloraError: If nothing was named, or a folder has none.
    """
    found: list[Path] = []
    for path in named:
        files = walk_files(path, tuple(READERS))[0] if is_dir(path) else [path]
        if not files:
            raise PccloraError(f"{path}: no file below this folder can be read ({' '.join(READERS)})")
        found += files
    return found
