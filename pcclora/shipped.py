"""What is no code and comes with the package: the configurations, and the cards of the data sets.

A checkout has them beside the package, an installed package inside it.
"""

from importlib.resources import files
from pathlib import Path
from typing import Literal


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
