#!/usr/bin/env python3
"""Predict the class of point-cloud files with a finished run.

python tools/predict.py scan.ply chair.off --run runs/cls/...
python tools/predict.py *.npy --run runs/cls/... --json > probabilities.json
"""

import json
import sys
from pathlib import Path

from pcclora.engine import cli
from pcclora.engine.predict import predict_files
from pcclora.engine.report import prediction_table
from pcclora.engine.run_folder import RunFolder


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="ply pcd off obj stl npy npz txt xyz las")
    cli.add_trained_run_options(parser)
    parser.add_argument("--json", action="store_true", help="all probabilities of each file, as JSON")
    arguments = cli.parse(parser)
    if arguments.dry_run:
        cli.show_dry_run(cli.config_of(arguments), arguments)
        return
    predictions = predict_files(RunFolder.open(arguments.run), arguments.files, checkpoint=arguments.checkpoint)
    sys.stdout.write(json.dumps(predictions, indent=2) + "\n" if arguments.json else prediction_table(predictions))


if __name__ == "__main__":
    cli.run_tool(main)
