"""``pcclora prepare``: checks a copy of a data set, and turns a slow form into a fast file. One file each."""

import sys
from importlib import import_module

from pcclora.engine import console
from pcclora.errors import PccloraError, did_you_mean

NAMES = ("fgvc", "modelnet40", "scanobjectnn", "shapenetpart", "vtab1k")


def main() -> None:
    """Hand the rest of the line to the data set that it names."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        usage = "usage: pcclora prepare NAME ROOT ...    pcclora prepare NAME --help says more"
        console.write(f"{usage}\n\nNAME: {', '.join(NAMES)}\n")
    elif name not in NAMES:
        raise PccloraError(f"prepare {name}: nothing to prepare is known of this data set{did_you_mean(name, NAMES)}")
    else:
        import_module(f"{__name__}.{name}").main(words)
