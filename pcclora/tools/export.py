"""Export a finished run to a model that other programs run, without pcclora.

pcclora export --run runs/cls/... --to onnx DIR        ONNX, for ONNX Runtime and whatever else reads it
pcclora export --run runs/partseg/... --to pt2 DIR     torch's own form, for programs that have torch

The adapter is merged where its method allows it. DIR then holds the model, model.json with all that its use needs
(classes, parts, points, normalisation, up axis), and example.py, which goes from a file to an answer. What was written
is compared with the run's own answers on its test objects, and is not left there if it differs.
"""

from pathlib import Path

from pcclora.engine import console
from pcclora.runs.export.folder import Export, export_run
from pcclora.runs.export.targets import TARGETS
from pcclora.runs.reload import TrainedRun
from pcclora.text import visible
from pcclora.tools.shared import cli

USAGE = {"cls": "scan.npy", "partseg": "scan.npy CATEGORY", "image": "photo.jpg"}


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    cli.add_trained_run_options(parser)
    parser.add_argument("--to", required=True, metavar="|".join(TARGETS), help="the form of the model")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to; it must not exist")
    arguments = cli.parse(parser)
    if arguments.dry_run:
        cli.show_dry_run(cli.config_of(arguments), arguments)
        return
    run = TrainedRun.open(arguments.run, checkpoint=arguments.checkpoint)
    made = export_run(run, arguments.to, arguments.folder)
    console.write(_report(made), kept=arguments.folder)


def _report(made: Export) -> str:
    card, check = made.card, made.card["check"]
    adapter = card["adapter"]["name"] + (" merged" if card["adapter"]["merged"] else " in the graph")
    opset = card["versions"].get("opset")
    sizes = [f"{name} {' x '.join(map(str, own['shape']))}" for name, own in card["inputs"].items()]
    rows = {
        "model": f"{made.folder / card['file']} ({made.megabytes:.1f} MB; {card['model']}, {adapter})",
        "inputs": "; ".join(sizes),
        "against eager": f"{check['largest_difference']:.1e} at most ({check['samples']})",
        "runs on": f"{made.runs_on} {card['versions'][made.runs_on]}" + (f", opset {opset}" if opset else ""),
        "next": f"python {made.folder / 'example.py'} {USAGE[card['task']]}",
    }
    return "".join(f"{name + ':':<15}{visible(text)}\n" for name, text in rows.items())
