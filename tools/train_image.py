#!/usr/bin/env python3
r"""Adapt a pre-trained vision transformer to an image classification data set.

python tools/train_image.py                                the embedded default: CLoRA on scans of handwritten digits
python tools/train_image.py adapter=lora adapter.r=4 train.epochs=10
python tools/train_image.py data=image_folder data.root=MY_PHOTOS model=timm/vit_base_patch16_224 checkpoint=FILE
python tools/train_image.py --config configs/image/vtab1k/vit_base_clora.yaml data.root=DATA checkpoint=FILE
python tools/train_image.py --seeds 0 1 2 --jobs 2         mean and sample standard deviation of three runs
python tools/train_image.py --config configs/image/vtab1k/vit_base_clora.yaml --grid configs/image/vtab1k/grid.yaml \
    --tasks all --seeds 0 1 2 --jobs 4 data.root=DATA checkpoint=FILE        19 tasks: tune on 800/200, test once
python tools/train_image.py --resume runs/image/...        go on after an interruption; with --tasks, --grid: more
accelerate launch --multi_gpu --num_processes 2 tools/train_image.py ...
"""

from pcclora.engine import process  # noqa: F401 - first: what a signal does while the rest is imported

# isort: split
from pcclora.engine import cli
from pcclora.engine.suite_tool import add_suite_options, run_suite_by_arguments, wants_suite
from pcclora.engine.tasks import TASKS
from pcclora.engine.train_tool import parse_training, train_parsed, train_parser
from pcclora.vis import draw_run


def main() -> None:
    """Train, draw, print."""
    parser = train_parser(__doc__)
    add_suite_options(parser)
    arguments = parse_training(parser)
    if wants_suite(arguments):
        run_suite_by_arguments(TASKS["image"], arguments, draw=draw_run)
    else:
        train_parsed(TASKS["image"], arguments, draw=draw_run, then="python tools/predict.py PHOTO...")


if __name__ == "__main__":
    cli.run_tool(main, resumes=True)
