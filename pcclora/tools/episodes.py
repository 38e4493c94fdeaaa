"""Draw few-shot episodes of any data set and write them in the official form, {way}way_{shot}shot/{fold}.pkl.

pcclora episodes EPISODES                                   5-way 10-shot of procedural shapes
pcclora episodes EPISODES --config fewshot/modelnet10 data.root=DATA
pcclora fewshot episodes=EPISODES                                 read again like the official files
"""

from pathlib import Path

from pcclora.data import episodes_digest, spellings, write_episodes
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.paths import exists
from pcclora.studies.fewshot.fold import load_episode, settle_queries
from pcclora.studies.fewshot.settings import load_fewshot
from pcclora.tools.shared import cli


def main() -> None:
    """Parse, draw, write."""
    parser = cli.make_parser(__doc__)
    parser.add_argument("root", type=Path, help="folder that takes one folder a setting; none of them may exist")
    parser.add_argument("--config", type=Path, help="YAML file of a comparison or a name of `pcclora configs`")
    parser.add_argument(
        "--points", type=int, metavar="N", help="points of a cloud, 8192 in the official files; default all"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="as data.root=DATA way=[5,10] shot=[10] folds=10"
    )
    arguments = cli.parse(parser)
    config = load_fewshot(arguments.config, arguments.overrides)
    if arguments.dry_run:
        cli.show_dry_run(config, arguments)
        return
    if config.episodes:
        raise PccloraError(f"episodes={config.episodes}: these are drawn already; leave it out to draw others")
    config = settle_queries(config)
    drawn = {
        (way, shot): [load_episode(config, way, shot, fold) for fold in range(config.folds)]
        for way, shot in config.settings
    }
    taken = [arguments.root / name for key in drawn for name in spellings(*key) if exists(arguments.root / name)]
    if taken:
        raise PccloraError(f"{taken[0]}: is there already and is never overwritten; choose another folder")
    for episodes in drawn.values():
        folder = write_episodes(episodes, arguments.root, points=arguments.points)
        digest = episodes_digest(episodes)
        console.write(f"{folder}: {len(episodes)} folds, sha256 of the episodes {digest}\n", kept=folder)
