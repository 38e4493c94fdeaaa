"""Put a finished run or a saved adapter on the Hugging Face hub: what prediction needs, and a card; no data, no paths.

pcclora push runs/cls/... owner/name
pcclora push runs/cls/... owner/name --private --license apache-2.0
pcclora push MY_ADAPTER owner/name@branch
pcclora push runs/cls/... owner/name --dry-run         what would go out

Log in before, by `hf auth login` or HF_TOKEN. HF_ENDPOINT names another hub.
"""

from pathlib import Path

from pcclora.commands import spelled
from pcclora.engine import console
from pcclora.hub import HubName
from pcclora.runs.publish import files_to_share, push
from pcclora.tools.shared import cli


def main() -> None:
    """Parse, build, call."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN", help="a finished run, or the folder of a saved adapter")
    parser.add_argument("repository", metavar="REPO", help="owner/name, or owner/name@branch; made if it is not there")
    parser.add_argument("--private", action="store_true", help="make a repository that only you see")
    parser.add_argument("--license", default="", metavar="NAME", help="as apache-2.0; written at the head of the card")
    arguments = cli.parse(parser)
    name = HubName.read(arguments.repository)
    if arguments.dry_run:
        files = files_to_share(arguments.folder, name, licence=arguments.license)
        lines = "".join(f"# {len(content):>11,} B  {path}\n" for path, content in sorted(files.items()))
        console.write(f"# dry run: nothing was done; this would go to {name}\n{lines}")
        return
    address = push(arguments.folder, name, private=arguments.private, licence=arguments.license)
    console.write(f"pushed: {address}\n" + spelled(f"next: pcclora predict FILE --run {name}\n"))
