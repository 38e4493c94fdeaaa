"""Reads the pickles of released point-cloud data (.dat, .pkl) without running anything that they say."""

import pickle
from pathlib import Path
from typing import Any

from pcclora.data.files import unreadable
from pcclora.errors import PccloraError

# What numpy's own arrays and scalars name in a pickle, under its module names before and since numpy 2.
_NUMPY = {
    ("multiarray", "_reconstruct"),
    ("multiarray", "scalar"),
    ("numeric", "_frombuffer"),
}
_ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
    (f"numpy.{core}.{module}", name) for core in ("core", "_core") for module, name in _NUMPY
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise PccloraError(f"it wants to run {module}.{name}")
        return super().find_class(module, name)


def load_pickle(path: Path) -> Any:
    """Read a pickle of dicts, lists, tuples, numpy arrays and scalars, whole numbers and strings.

    Args:
        path: The file.

    Raises:
        PccloraError: If it is absent or damaged, or names anything else: a pickle can run any program, this does not.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except PccloraError as error:
        raise PccloraError(
            f"{path}: refused, {error}; a data file has no reason to, get it from another source"
        ) from error
    except Exception as error:  # a damaged pickle raises anything
        raise unreadable(path, error) from error
