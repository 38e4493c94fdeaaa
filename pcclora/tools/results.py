"""Train settings side by side, several seeds each, and print them as a table: into a file or a pipe as Markdown.

pcclora results results/modelnet10 --output runs/results/modelnet10 data.root=DATA --jobs 2
pcclora results results/paper_points --output runs/paper --have scanobjectnn=DATA --have point_mae=FILE
What is finished in the output folder is not trained again; --table only prints. A file with parts, as the tables of
the literature, prints one a part; a part whose data or weights --have does not name is left out.
"""

import argparse
import shutil
import sys
from pathlib import Path

from pcclora.atomic import write_text
from pcclora.config import load_config, read_yaml, to_yaml
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.studies.comparison import Comparison, home_of
from pcclora.studies.paper import Paper
from pcclora.studies.parts import SeedStudy, Study
from pcclora.studies.runner import Outcome
from pcclora.studies.tables import Table
from pcclora.tools.shared import cli
from pcclora.tools.shared.parser import Parser


def main() -> None:
    """Parse, build, call."""
    arguments = _parse()
    paper = load_config(Paper, file=arguments.comparison) if "parts" in read_yaml(arguments.comparison) else None
    studies = _open(paper, arguments)
    runs = {name: study.runs() for name, study in studies.items()}  # a wrong setting shows before any trains
    if arguments.dry_run:
        for part, own in runs.items():
            for name, run in own.items():
                console.write(f"# {f'{part}: ' if part else ''}{name}\n{to_yaml(run)}---\n")
        return
    outcome, tables = Outcome(), dict[str, Table]()
    for part, study in studies.items():
        found = _carry_out(part, study, arguments, outcome)
        if found is not None:
            tables[part] = found if paper is None else paper.beside_published(part, found)
            console.write(f"## {part}\n\n{_shown(tables[part])}\n" if part else _shown(tables[part]))
    if arguments.latex and tables:
        texts = (f"% {part}\n{own.latex()}" if part else own.latex() for part, own in tables.items())
        write_text(arguments.latex, "\n".join(texts))
    if arguments.csv and tables:
        texts = (f"{part}\n{own.csv()}" if part else own.csv() for part, own in tables.items())
        write_text(arguments.csv, "\n".join(texts))
    outcome.refuse_failures("the same command")


def _shown(table: Table) -> str:
    """Return a table as a person reads it at a terminal, and as Markdown where it goes into a file or a pipe."""
    return table.text(shutil.get_terminal_size((80, 24)).columns) if sys.stdout.isatty() else table.markdown()


def _parse() -> argparse.Namespace:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("comparison", type=Path, help="YAML file with a config, seeds and settings, or with parts; or a name")
    add("overrides", nargs="*", metavar="key=value", help="for all settings, as data.root=DATA")
    add("--output", type=Path, required=True, help="takes one folder a setting")
    add(
        "--part",
        action="append",
        default=[],
        metavar="NAME",
        help="only this part; a pattern, as 'few-shot*', is several",
    )
    add("--have", action="append", default=[], metavar="NAME=PATH", help="where data or weights are that parts need")
    cli.add_study_options(parser)
    add("--table", action="store_true", help="print the table of what is finished, train nothing")
    add("--latex", type=Path, metavar="FILE", help="also write the table for LaTeX with booktabs")
    add("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    add("--dry-run", action="store_true", help="resolve every setting, print, do nothing")
    return parser.parse_words()


def _open(paper: Paper | None, arguments: argparse.Namespace) -> dict[str, Study]:
    """Return what is to be run or shown: part -> its study; a comparison is one without a name."""
    if paper is None:
        if arguments.part or arguments.have:
            raise PccloraError(f"{arguments.comparison}: has no parts; --part and --have are for files that have")
        return {"": SeedStudy(load_config(Comparison, file=arguments.comparison), arguments.overrides)}
    for word in arguments.have:
        if not all(word.partition("=")):
            raise PccloraError(f"--have {word}: a name and its place are expected, as scanobjectnn=DATA")
    have = dict(word.split("=", 1) for word in arguments.have)
    parts = paper.find_parts(arguments.part)
    lacking = {part: lacks for part in parts if (lacks := paper.lacks(part, have)) and not arguments.table}
    for part, lacks in lacking.items():
        console.complain(f"left out: {part}; it needs {' '.join(f'--have {name}=PATH' for name in lacks)}")
    return {part: paper.open(part, have, arguments.overrides) for part in parts if part not in lacking}


def _carry_out(part: str, study: Study, arguments: argparse.Namespace, outcome: Outcome) -> Table | None:
    """Run a study if it is to be run; return its table, or None while other shards have something to do."""
    output, workers = home_of(arguments.output, part), cli.workers_of(arguments)
    own = Outcome() if arguments.table else study.run(output, workers)
    outcome.failed |= {f"{part}, {name}" if part else name: why for name, why in own.failed.items()}
    return None if cli.leaves_to_others(own.left, workers) else study.table(output)
