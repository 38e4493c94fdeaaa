"""What is no code and comes with the package: the configurations, and the cards of the data sets.

A checkout has them beside the package, an installed package inside it.
"""

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pcclora.commands import spelled
from pcclora.errors import PccloraError
from pcclora.paths import exists, is_dir


def shipped(room: Literal["configs", "datasets"]) -> Path:
    """Return the folder of all configurations, or of all data sets' cards."""
    package = Path(str(files("pcclora")))
    inside = package / room
    return inside if inside.is_dir() else package.parent / room


def card(dataset: str) -> Path:
    """Return the file that says what a data set is, where it can be had, and under which licence.

    Args:
        dataset: Its name, as ``modelnet40``.
    """
    return shipped("datasets") / dataset / "README.md"


def config_names() -> list[str]:
    """Return what the configurations are called, as ``cls/modelnet40/point_mae_clora``."""
    folder = shipped("configs")
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))


def shipped_config(name: str) -> Path:
    """Return the file of a configuration.

    Args:
        name: One of :func:`config_names`.

    Raises:
        PccloraError: If there is none of this name; it says which are nearest.
    """
    names = config_names()
    if name in names:
        return shipped("configs") / f"{name}.yaml"
    close = get_close_matches(name.removeprefix("configs/").removesuffix(".yaml"), names, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"
    raise PccloraError(
        f"{name}: no such file, and no configuration of this name{meant} {spelled('pcclora configs')} lists all"
    )


def find_config(named: str | Path) -> Path:
    """Return the file that ``--config`` and its like mean: one that is there, else the configuration of that name.

    Raises:
        PccloraError: If there is neither.
    """
    path = Path(named)
    return path if exists(path) and not is_dir(path) else shipped_config(path.as_posix())
