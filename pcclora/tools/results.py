"""Train settings side by side, several seeds each, and print them as a Markdown table.

pcclora results results/modelnet10 --output runs/results/modelnet10 data.root=DATA --jobs 2
What is finished in the output folder is not trained again; --table only prints.
"""

from pathlib import Path

from pcclora.atomic import write_text
from pcclora.config import load_config, to_yaml
from pcclora.engine import console
from pcclora.studies.comparison import Comparison, compare, table
from pcclora.studies.runner import Outcome
from pcclora.tools.shared import cli
from pcclora.tools.shared.parser import Parser


def main() -> None:
    """Parse, build, call."""
    parser = Parser(__doc__)
    parser.add_argument("comparison", type=Path, help="YAML file with a config, seeds and settings, or a name")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for all settings, as data.root=DATA")
    parser.add_argument("--output", type=Path, required=True, help="takes one folder a setting")
    cli.add_study_options(parser)
    parser.add_argument("--table", action="store_true", help="print the table of what is finished, train nothing")
    parser.add_argument("--latex", type=Path, metavar="FILE", help="also write the table for LaTeX with booktabs")
    parser.add_argument("--dry-run", action="store_true", help="resolve every setting, print, do nothing")
    arguments = parser.parse_words()
    comparison, workers = load_config(Comparison, file=arguments.comparison), cli.workers_of(arguments)
    if arguments.dry_run:
        for name in comparison.settings:
            console.write(f"# {name}\n{to_yaml(comparison.run(name, arguments.overrides))}---\n")
        return
    outcome = Outcome()
    if not arguments.table:
        outcome = compare(comparison, arguments.output, options=arguments.overrides, workers=workers)
    if not cli.leaves_to_others(outcome.left, workers):
        found = table(comparison, arguments.output)
        console.write(found.markdown())
        if arguments.latex:
            write_text(arguments.latex, found.latex())
    outcome.refuse_failures("the same command")
