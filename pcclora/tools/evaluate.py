"""Evaluate a finished run again: on its own test set, on other data, with votes; or a released file as it is.

pcclora evaluate --run runs/cls/...
pcclora evaluate --run runs/cls/... --checkpoint MOVED.pth votes=10
pcclora evaluate --run runs/cls/... data=folder data.root=MY_SCANS --output results
pcclora evaluate --run runs/cls/... --new-files        only scans that came after the training
pcclora evaluate --run runs/cls/... --corruptions      how it stands noise, holes, occlusion ... in five severities
pcclora evaluate --run runs/cls/... --calibrate        fit the run's confidences to validation data, and keep that
pcclora evaluate --config cls/modelnet40/point_mae_full --checkpoint FILE data.root=DATA
accelerate launch --multi_gpu --num_processes 2 "$(command -v pcclora)" evaluate --run ...
"""

import argparse
from pathlib import Path

from pcclora.atomic import refuse_existing
from pcclora.engine import console
from pcclora.engine.environment import is_main_process
from pcclora.errors import PccloraError
from pcclora.runs.calibration import calibrate
from pcclora.runs.evaluate import evaluate_released, evaluate_run, write_evaluation
from pcclora.runs.reload import TrainedRun
from pcclora.runs.report import evaluation_table, run_table
from pcclora.runs.robustness import Trial
from pcclora.tasks.registry import load_run_config
from pcclora.tasks.settings import AdaptationRun
from pcclora.tools.shared import cli
from pcclora.vis import draw_test


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    cli.add_trained_run_options(parser, required=False)
    parser.add_argument("--config", type=Path, help="without --run: evaluate the released file of --checkpoint by this")
    parser.add_argument("--split", help="split of the data set (default: test)")
    parser.add_argument("--new-files", action="store_true", help="test on the objects that no side of the run has seen")
    parser.add_argument("--output", type=Path, metavar="DIR", help="also write numbers, predictions and matrix there")
    parser.add_argument(
        "--calibrate", action="store_true", help="fit the run's temperature to its validation part, or to --split"
    )
    spoilt = parser.add_argument_group("corrupted clouds")
    spoilt.add_argument(
        "--corruptions", nargs="*", metavar="NAME", help="which, or all; by default the fifteen of ModelNet40-C"
    )
    spoilt.add_argument("--severity", nargs="+", metavar="N", help="some of 1 to 5 (default: all)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="another protocol or data set, as votes=10")
    arguments = cli.parse(parser)
    if (arguments.run is None) == (arguments.config is None) or (arguments.config and not arguments.checkpoint):
        raise PccloraError("give --run DIR for a finished run, or --config FILE --checkpoint FILE for a released file")
    if arguments.new_files and (not arguments.run or arguments.split):
        raise PccloraError("--new-files: takes all that the run has not seen; it needs --run DIR, and no --split")
    trial = _trial(arguments)
    if arguments.dry_run:
        cli.show_dry_run(_released(arguments) if arguments.config else cli.config_of(arguments), arguments)
        return
    if arguments.calibrate:
        _calibrate(arguments, trial)
        return
    if arguments.output and is_main_process():
        refuse_existing(arguments.output)
    if arguments.config:
        result = evaluate_released(_released(arguments), split=arguments.split or "test", corruptions=trial)
    else:
        result = evaluate_run(
            TrainedRun.open(arguments.run, checkpoint=arguments.checkpoint),
            split=arguments.split or "test",
            overrides=arguments.overrides,
            new_files=arguments.new_files,
            corruptions=trial,
        )
    if not is_main_process():
        return
    if arguments.output:
        write_evaluation(result, arguments.output, draw=draw_test)
    place = arguments.run or Path(arguments.checkpoint)
    console.write(evaluation_table(result.summary, place, output=arguments.output), kept=arguments.output)


def _calibrate(arguments: argparse.Namespace, trial: Trial | None) -> None:
    others = {"--output": arguments.output, "--new-files": arguments.new_files, "--corruptions": trial}
    if wrong := [option for option, given in others.items() if given] + ["--config"] * bool(arguments.config):
        raise PccloraError(f"--calibrate: changes the run itself, and is done alone; leave out {' '.join(wrong)}")
    run = TrainedRun.open(arguments.run, checkpoint=arguments.checkpoint)
    split = arguments.split or "validation"
    summary = calibrate(run, split=split, overrides=arguments.overrides, draw=draw_test)
    if is_main_process():
        console.write(run_table(summary, arguments.run), kept=arguments.run)


def _trial(arguments: argparse.Namespace) -> Trial | None:
    """``--severity 1 5 votes=3``: what has a ``=`` was meant as an override."""
    for name in ("corruptions", "severity"):
        words = getattr(arguments, name) or []
        arguments.overrides += [word for word in words if "=" in word]
        setattr(arguments, name, getattr(arguments, name) and [word for word in words if "=" not in word])
    if arguments.corruptions is None and arguments.severity:
        raise PccloraError("--severity: is of corruptions; say --corruptions as well")
    if arguments.corruptions is None:
        return None
    return Trial(arguments.corruptions, cli.whole_numbers("--severity", arguments.severity or list("12345")))


def _released(arguments: argparse.Namespace) -> AdaptationRun:
    overrides = [*arguments.overrides, f"checkpoint={arguments.checkpoint}"]
    return load_run_config(arguments.config, overrides)
