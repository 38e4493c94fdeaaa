"""Pre-train a backbone by masked autoencoding (Point-MAE, MAE), all of its parameters.

pcclora pretrain                                   the embedded default: procedural shapes, no download
pcclora pretrain --export point_mae_tiny.safetensors train.epochs=300
pcclora pretrain data=modelnet data.root=DATA train.device=auto train.precision=bf16
accelerate launch --multi_gpu --num_processes 2 "$(command -v pcclora)" pretrain ...
"""

from pathlib import Path

from pcclora.engine import console
from pcclora.engine.environment import agree, is_main_process
from pcclora.engine.run_folder import default_output
from pcclora.registry import DATASETS, MODELS
from pcclora.runs.pretrain import export, pretrain
from pcclora.runs.report import pretraining_table
from pcclora.tasks.settings import PretrainRun
from pcclora.tools.shared import cli
from pcclora.vis import draw_curves


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    cli.add_run_options(parser)
    parser.add_argument("--export", type=Path, metavar="FILE", help="also write the weights as float16 safetensors")
    arguments = cli.parse(parser)
    config = cli.resolve(PretrainRun, arguments)
    if arguments.dry_run:
        cli.show_dry_run(config, arguments)
        return
    names = (DATASETS.name_of(config.data), MODELS.name_of(config.model))
    output = arguments.resume or agree(config.train, arguments.output or default_output("pretrain", names))
    folder = pretrain(config, output, resume=arguments.resume is not None)
    if is_main_process():
        draw_curves(folder.metrics, folder.curves, title=" · ".join(("pre-training", *names)))
        console.write(pretraining_table(folder.read_summary(), folder.path), kept=folder.path)
        if arguments.export:
            export(folder, arguments.export)
            console.write(f"weights (float16): {arguments.export}\n", kept=arguments.export)
