r"""Adapt a pre-trained vision transformer to an image classification data set.

pcclora train-image                                the embedded default: CLoRA on scans of handwritten digits
pcclora train-image adapter=lora adapter.r=4 train.epochs=10
pcclora train-image data=image_folder data.root=MY_PHOTOS model=timm/vit_base_patch16_224 checkpoint=FILE
pcclora train-image --config image/vtab1k/vit_base_clora data.root=DATA checkpoint=FILE
pcclora train-image --seeds 0 1 2 --jobs 2         mean and sample standard deviation of three runs
pcclora train-image --config image/vtab1k/vit_base_clora --grid image/vtab1k/grid \
    --tasks all --seeds 0 1 2 --jobs 4 data.root=DATA checkpoint=FILE        19 tasks: tune on 800/200, test once
pcclora train-image --resume runs/image/...        go on after an interruption; with --tasks, --grid: more
accelerate launch --multi_gpu --num_processes 2 "$(command -v pcclora)" train-image ...
"""

from pcclora.tasks.registry import TASKS
from pcclora.tools.shared.suite import add_suite_options, run_suite_by_arguments, wants_suite
from pcclora.tools.shared.train import parse_training, train_parsed, train_parser
from pcclora.vis import draw_run


def main() -> None:
    """Train, draw, print."""
    parser = train_parser(__doc__)
    add_suite_options(parser)
    arguments = parse_training(parser)
    if wants_suite(arguments):
        run_suite_by_arguments(TASKS["image"], arguments, draw=draw_run)
    else:
        train_parsed(TASKS["image"], arguments, draw=draw_run, then="pcclora predict PHOTO...")
