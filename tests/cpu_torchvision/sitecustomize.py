"""Let torchvision's CUDA wheel be imported beside a CPU build of torch, in tests only.

Python runs this file at its start when its folder is on PYTHONPATH. The compiled part of that wheel does not load
without CUDA, and torchvision's import then fails, because it describes operators that nobody has declared. Here they
are declared by name, with no code behind them: neither pcclora nor the ViTs of timm call one. Where torch and
torchvision match, nothing is declared.
"""

import ctypes
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

POOLING = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
OPERATORS = ("nms", "qnms", "qroi_align", *POOLING, *(f"_{name}_backward" for name in POOLING))
libraries = []  # a torch library takes its operators with it when it is forgotten


class BeforeTorchvision(MetaPathFinder):
    """Finds nothing; it sees the import of torchvision coming."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(fullname)
            if spec is not None and not loads(Path(spec.origin).with_name("_C.so")):
                declare()
        return None


def loads(compiled):
    import torch  # noqa: F401 - its libraries must be there first

    try:
        ctypes.CDLL(str(compiled))
    except OSError:
        return False
    return True


def declare():
    import torch

    library = torch.library.Library("torchvision", "DEF")
    libraries.append(library)
    for name in OPERATORS:
        library.define(f"{name}(Tensor x) -> Tensor")


sys.meta_path.insert(0, BeforeTorchvision())
