"""Train settings side by side, several seeds each, and print them as a Markdown table.

pcclora results results/modelnet10 --output runs/results/modelnet10 data.root=DATA --jobs 2
What is finished in the output folder is not trained again; --table only prints.
"""

from pathlib import Path

from pcclora.config import load_config, to_yaml
from pcclora.engine import console
from pcclora.engine.comparison import Comparison, compare, table
from pcclora.engine.parser import Parser


def main() -> None:
    """Parse, build, call."""
    parser = Parser(__doc__)
    parser.add_argument("comparison", type=Path, help="YAML file with a config, seeds and settings, or a name")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for all settings, as data.root=DATA")
    parser.add_argument("--output", type=Path, required=True, help="takes one folder a setting")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="settings trained at the same time")
    parser.add_argument("--table", action="store_true", help="print the table of what is finished, train nothing")
    parser.add_argument("--dry-run", action="store_true", help="resolve every setting, print, do nothing")
    arguments = parser.parse_words()
    comparison = load_config(Comparison, file=arguments.comparison)
    if arguments.dry_run:
        for name in comparison.settings:
            console.write(f"# {name}\n{to_yaml(comparison.run(name, arguments.overrides))}---\n")
        return
    if not arguments.table:
        compare(comparison, arguments.output, options=arguments.overrides, jobs=arguments.jobs)
    console.write(table(comparison, arguments.output))
