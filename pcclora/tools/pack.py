"""Put a finished run into one file, to send or to deploy: what predicting needs of its folder.

pcclora pack runs/cls/RUN                     runs/cls/RUN.pcclora; who uses it must have the base weights
pcclora pack runs/cls/RUN --weights           with the base weights in it
pcclora predict scan.ply --run RUN.pcclora    a pack is used as the folder is
"""

from pathlib import Path

from pcclora.engine import console
from pcclora.runs import TrainedRun
from pcclora.tools.shared import cli


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--weights", action="store_true", help="put the base weights in too")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where; it must not exist (default: RUN.pcclora)")
    parser.add_argument("--checkpoint", metavar="FILE", help="the base checkpoint, if it has moved since")
    arguments = cli.parse(parser)
    if arguments.dry_run:
        cli.show_dry_run(cli.config_of(arguments), arguments)
        return
    run = TrainedRun.open(arguments.run, checkpoint=arguments.checkpoint)
    target = run.pack(arguments.output, weights=arguments.weights)
    console.write(
        f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB), {_needs(run, arguments.weights)}\n", kept=target
    )


def _needs(run: TrainedRun, packed: bool) -> str:
    name, sha256 = run.summary["checkpoint"], run.summary["checkpoint_sha256"]
    if packed:
        return "base weights included"
    if sha256 is None:
        return "random base weights, which are drawn again from the run's seed"
    own = {"bundled": "the base weights that come with pcclora", "pretrained": "timm's own base weights"}
    return own.get(name, f"to be used with {Path(name).name}, sha256 {sha256[:12]}, which is not in it (--weights)")
