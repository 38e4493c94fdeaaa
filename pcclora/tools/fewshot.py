"""Compare methods on few-shot episodes: n classes, k objects of each to learn from, the same folds for every method.

pcclora fewshot                                    5-way 10-shot on procedural shapes
pcclora fewshot --methods linear clora --way 5 10 --shot 10 20 --folds 10 train.epochs=20
pcclora fewshot --config fewshot/modelnet10 data.root=DATA
pcclora fewshot --config fewshot/modelnet40 episodes=ModelNetFewshot checkpoint=pretrain.pth
pcclora fewshot --resume runs/fewshot/...          go on after an interruption: finished folds stay
pcclora fewshot --scheduler dask://HOST:8786 ...   on a Dask cluster

Exit code 0: every fold is finished. 1: some failed; they are named, and --resume tries them again. 2: bad input.
"""

import argparse
import shlex

from pcclora.commands import spelled
from pcclora.engine import console
from pcclora.engine.run_folder import default_output
from pcclora.registry import MODELS
from pcclora.studies.fewshot.settings import FewShotRun, load_fewshot
from pcclora.studies.fewshot.study import begin, read_folds, reopen, run_folds
from pcclora.studies.fewshot.summary import console as console_table
from pcclora.studies.fewshot.summary import write_summary
from pcclora.tools.shared import cli
from pcclora.vis import draw_folds


def main() -> None:
    """Parse, build, call."""
    arguments = _parse()
    config, workers = _resolve(arguments), cli.workers_of(arguments)
    if arguments.dry_run:
        cli.show_dry_run(config, arguments)
        return
    names = [config.source, MODELS.name_of(config.model)]
    output = arguments.resume or arguments.output or default_output("fewshot", names)
    if not arguments.resume:
        config = begin(config, output)
    outcome = run_folds(config, output, workers, save_adapters=arguments.save_adapters)
    if not cli.leaves_to_others(outcome.left, workers):
        results = write_summary(config, read_folds(config, output), output)
        draw_folds(results, output / "folds.png", title=" · ".join(names))
        console.write(console_table(config, results, output), kept=output)
    outcome.refuse_failures(f"{spelled('pcclora fewshot')} --resume {shlex.quote(str(output))}")


def _parse() -> argparse.Namespace:
    parser = cli.make_parser(__doc__)
    cli.add_run_options(parser)
    add = parser.add_argument
    add("--way", nargs="+", action="extend", default=[], metavar="N", help="numbers of classes; the same as way=[5,10]")
    add("--shot", nargs="+", action="extend", default=[], metavar="N", help="numbers of support objects of a class")
    add("--folds", metavar="N", help="episodes of each setting; with --resume: more of them")
    add(
        "--methods", nargs="+", action="extend", default=[], metavar="NAME", help="which of the configuration's methods"
    )
    cli.add_study_options(parser, jobs=0)
    add("--save-adapters", action="store_true", help="keep the trained adapter of each fold")
    arguments = cli.parse(parser)
    for name in ("way", "shot", "methods"):  # `--way 5 10 train.epochs=3`: what has a `=` was meant as an override
        words = getattr(arguments, name)
        arguments.overrides += [word for word in words if "=" in word]
        setattr(arguments, name, [word for word in words if "=" not in word])
    return arguments


def _resolve(arguments: argparse.Namespace) -> FewShotRun:
    grid = [
        f"{name}={cli.whole_numbers(f'--{name}', getattr(arguments, name))}".replace(" ", "")
        for name in ("way", "shot")
        if getattr(arguments, name)
    ]
    folds = cli.whole_numbers("--folds", [arguments.folds] if arguments.folds else [])
    if arguments.resume is None:
        words = [*arguments.overrides, *grid, *(f"folds={n}" for n in folds)]
        return load_fewshot(arguments.config, words, methods=arguments.methods)
    arguments.overrides += [*grid, *(f"--methods {name}" for name in arguments.methods)]
    cli.resolve(FewShotRun, arguments)  # refuses what a comparison cannot be told any more
    return reopen(arguments.resume, arguments.overrides, folds=folds[0] if folds else None)
