"""List the configurations that come with pcclora, or copy one to edit.

pcclora configs                                            names that --config takes, beside paths
pcclora configs --copy cls/modelnet40/point_mae_clora      writes point_mae_clora.yaml here; never over another file
"""

from pathlib import Path

from pcclora.atomic import refuse_existing, writing
from pcclora.engine import console
from pcclora.shipped import config_names, shipped_config
from pcclora.tools.shared.parser import Parser


def main() -> None:
    """Parse, then list or copy."""
    parser = Parser(__doc__)
    parser.add_argument("--copy", metavar="NAME", help="write a copy of this one")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where; it must not exist")
    arguments = parser.parse_args()
    if arguments.copy is None:
        console.write("".join(f"{name}\n" for name in config_names()))
        return
    source = shipped_config(arguments.copy)
    target = arguments.output or Path(source.name)
    refuse_existing(target)
    with writing(target), target.open("xb") as file:
        file.write(source.read_bytes())
    console.write(f"wrote {target}\n", kept=target)
