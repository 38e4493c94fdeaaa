#!/usr/bin/env python3
"""Adapt a pre-trained backbone to part segmentation.

python tools/train_partseg.py                              the embedded default: CLoRA on procedural shapes
python tools/train_partseg.py adapter=lora adapter.r=4 train.epochs=10
python tools/train_partseg.py --config configs/partseg/shapenetpart/point_mae_clora.yaml data.root=DATA checkpoint=FILE
python tools/train_partseg.py data=part_folder data.root=MY_SCANS
python tools/train_partseg.py --seeds 0 1 2 --jobs 2       mean and sample standard deviation of three runs
python tools/train_partseg.py --resume runs/partseg/...    go on after an interruption, bit for bit
accelerate launch --multi_gpu --num_processes 2 tools/train_partseg.py ...
"""

from pcclora.engine import process  # noqa: F401 - first: what a signal does while the rest is imported

# isort: split
from pcclora.engine import cli
from pcclora.engine.tasks import TASKS
from pcclora.engine.train_tool import train_by_arguments
from pcclora.vis import draw_run


def main() -> None:
    """Train, draw, print."""
    then = "python tools/visualize.py --html worst.html --worst 6"
    train_by_arguments(TASKS["partseg"], __doc__, draw=draw_run, then=then)


if __name__ == "__main__":
    cli.run_tool(main, resumes=True)
