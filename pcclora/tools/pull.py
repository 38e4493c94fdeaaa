"""Fetch a run or an adapter from the Hugging Face hub into a folder.

pcclora pull owner/name                       into ./name
pcclora pull owner/name@v1 --output DIR       a branch, a tag or a commit of it
pcclora predict scan.ply --run hub:owner/name          needs no folder: what is fetched is kept, and used offline

Of a private repository, log in before, by `hf auth login` or HF_TOKEN. HF_ENDPOINT names another hub.
"""

import shlex
from pathlib import Path

from pcclora.commands import spelled
from pcclora.engine import console
from pcclora.hub import HubName
from pcclora.paths import is_file
from pcclora.runs.publish import pull
from pcclora.tools.shared import cli


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("repository", metavar="REPO", help="owner/name, or owner/name@revision")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder; it must not exist (default: name)")
    arguments = cli.parse(parser)
    name = HubName.read(arguments.repository)
    output = arguments.output or Path(name.repo.partition("/")[2])
    if arguments.dry_run:
        cli.show_dry_run(None, arguments)
        return
    pull(name, output)
    then = f"pcclora predict FILE --run {shlex.quote(str(output))}"
    if not is_file(output / "config.yaml"):
        then = f'pcclora.load_adapter(model, "{output}")'
    console.write(f"folder: {output}\n" + spelled(f"next: {then}\n"))
