"""Adapt a pre-trained backbone to part segmentation.

pcclora train-partseg                              the embedded default: CLoRA on procedural shapes
pcclora train-partseg adapter=lora adapter.r=4 train.epochs=10
pcclora train-partseg --config partseg/shapenetpart/point_mae_clora data.root=DATA checkpoint=FILE
pcclora train-partseg data=part_folder data.root=MY_SCANS
pcclora train-partseg --seeds 0 1 2 --jobs 2       mean and sample standard deviation of three runs
pcclora train-partseg --resume runs/partseg/...    go on after an interruption, bit for bit
accelerate launch --multi_gpu --num_processes 2 "$(command -v pcclora)" train-partseg ...
"""

from pcclora.tasks.registry import TASKS
from pcclora.tools.shared.train import train_by_arguments
from pcclora.vis import draw_run


def main() -> None:
    """Train, draw, print."""
    then = "pcclora visualize --html worst.html --worst 6"
    train_by_arguments(TASKS["partseg"], __doc__, draw=draw_run, then=then)
