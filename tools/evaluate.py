#!/usr/bin/env python3
"""Evaluate a finished run again: on its own test set, on other data, with votes, or on several processes.

python tools/evaluate.py --run runs/cls/...
python tools/evaluate.py --run runs/cls/... --checkpoint MOVED.pth votes=10
python tools/evaluate.py --run runs/cls/... data=folder data.root=MY_SCANS --output results
accelerate launch --multi_gpu --num_processes 2 tools/evaluate.py --run ...
"""

import sys
from pathlib import Path

from pcclora.atomic import refuse_existing
from pcclora.engine import cli
from pcclora.engine.environment import is_main_process
from pcclora.engine.report import evaluation_table
from pcclora.engine.run_folder import RunFolder
from pcclora.engine.trained_run import evaluate_run, write_evaluation
from pcclora.vis import draw_confusion_of


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    cli.add_trained_run_options(parser)
    parser.add_argument("--split", default="test", help="split of the data set (default: test)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="also write numbers, predictions and matrix there")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="another protocol or data set, as votes=10")
    arguments = cli.parse(parser)
    if arguments.dry_run:
        cli.show_dry_run(cli.config_of(arguments), arguments)
        return
    if arguments.output and is_main_process():
        refuse_existing(arguments.output)
    result = evaluate_run(
        RunFolder.open(arguments.run),
        checkpoint=arguments.checkpoint,
        split=arguments.split,
        overrides=arguments.overrides,
    )
    if not is_main_process():
        return
    sys.stdout.write(evaluation_table(result.summary, arguments.run))
    if arguments.output:
        write_evaluation(result, arguments.output)
        draw_confusion_of(result.evaluation, result.summary, arguments.output / "confusion.png")


if __name__ == "__main__":
    cli.run_tool(main)
