"""Adapt a pre-trained backbone to a classification data set.

pcclora train-cls                                  the embedded default: CLoRA on procedural shapes
pcclora train-cls adapter=lora adapter.r=4 train.epochs=10
pcclora train-cls --config cls/modelnet40/point_mae_clora data.root=DATA checkpoint=FILE
pcclora train-cls --seeds 0 1 2 --jobs 2           mean and sample standard deviation of three runs
pcclora train-cls --resume runs/cls/...            go on after an interruption, bit for bit
accelerate launch --multi_gpu --num_processes 2 "$(command -v pcclora)" train-cls ...
"""

from pcclora.tasks.registry import TASKS
from pcclora.tools.shared.train import train_by_arguments
from pcclora.vis import draw_run


def main() -> None:
    """Train, draw, print."""
    train_by_arguments(TASKS["cls"], __doc__, draw=draw_run, then="pcclora predict FILE...")
