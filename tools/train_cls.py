#!/usr/bin/env python3
"""Adapt a pre-trained backbone to a classification data set.

python tools/train_cls.py                                  the embedded default: CLoRA on procedural shapes
python tools/train_cls.py adapter=lora adapter.r=4 train.epochs=10
python tools/train_cls.py --config configs/cls/modelnet40/point_mae_clora.yaml data.root=DATA checkpoint=FILE
python tools/train_cls.py --seeds 0 1 2 --jobs 2           mean and sample standard deviation of three runs
python tools/train_cls.py --resume runs/cls/...            go on after an interruption, bit for bit
accelerate launch --multi_gpu --num_processes 2 tools/train_cls.py ...
"""

import argparse
import sys
from pathlib import Path

from pcclora.engine import cli
from pcclora.engine.classification import train_classifier
from pcclora.engine.environment import agree, is_main_process
from pcclora.engine.report import classification_table
from pcclora.engine.run_folder import RunFolder, default_output
from pcclora.engine.seeds import holds_seeds, resume_seeds, train_seeds
from pcclora.engine.settings import ClassificationRun
from pcclora.registry import ADAPTERS, DATASETS, MODELS
from pcclora.vis import draw_run


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    cli.add_run_options(parser)
    parser.add_argument("--seeds", nargs="+", default=[], metavar="N", help="one run a seed, and their mean")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="seeds trained at the same time")
    arguments = cli.parse(parser)
    seeds = _take_seeds(arguments)
    config = cli.resolve(ClassificationRun, arguments)
    if arguments.dry_run:
        cli.show_dry_run(config, arguments)
        return
    several = {"jobs": arguments.jobs, "plugins": arguments.plugin}
    names = [DATASETS.name_of(config.data), MODELS.name_of(config.model), ADAPTERS.name_of(config.adapter)]
    output = arguments.resume or agree(config.train, arguments.output or default_output("cls", names))
    if arguments.resume and holds_seeds(output):
        resume_seeds(output, seeds=seeds, **several)
    elif seeds:
        train_seeds(config, output, seeds=seeds, **several)
    else:
        train_classifier(config, output, resume=arguments.resume is not None)
    if is_main_process():
        _show(output)


def _show(output: Path) -> None:
    """Draw the pictures and print the table."""
    runs = sorted(output.glob("seed_*")) if holds_seeds(output) else [output]
    for run in runs:
        draw_run(RunFolder(run))
    sys.stdout.write(classification_table(RunFolder(output).read_summary(), output))
    sys.stdout.write(f"next: python tools/predict.py FILE... --run {runs[0]}\n")


def _take_seeds(arguments: argparse.Namespace) -> list[int]:
    """``--seeds 0 1 adapter.r=4``: what has a ``=`` was meant as an override."""
    arguments.overrides += [word for word in arguments.seeds if "=" in word]
    arguments.seeds = cli.whole_numbers("--seeds", [word for word in arguments.seeds if "=" not in word])
    return arguments.seeds


if __name__ == "__main__":
    cli.run_tool(main)
