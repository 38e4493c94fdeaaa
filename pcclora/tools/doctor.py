"""Say what pcclora finds here: versions, which geometry kernel runs and why, devices, threads, extras.

pcclora doctor
"""

import os
import platform
import textwrap
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

import pcclora
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.extras import EXTRAS, pip_line
from pcclora.models.images.from_timm import import_timm
from pcclora.ops import backends
from pcclora.shipped import config_names, shipped
from pcclora.text import first_line
from pcclora.tools.shared.parser import Parser
from pcclora.vis.open3d_import import import_open3d, quiet

DEPENDENCIES = (*("torch", "numpy", "h5py", "safetensors", "omegaconf", "pyyaml", "tqdm", "pillow", "python-neo-lzf"),)
DOORS: Mapping[str, Callable[[], ModuleType]] = {"timm": import_timm, "open3d": import_open3d}
"""What is imported by a function that knows why it cannot be."""


def main() -> None:
    """Look and print."""
    Parser(__doc__).parse_args()
    found = (*_versions(), *_geometry(), *_machine(), *_extras(), *_shipped())
    page = textwrap.TextWrapper(80, subsequent_indent=" " * 13, break_long_words=False, break_on_hyphens=False)
    console.write("".join(f"{page.fill(f'{label:<12} {what}')}\n" for label, what in found))


def _versions() -> Iterator[tuple[str, str]]:
    yield "pcclora", f"{pcclora.__version__}, {Path(pcclora.__file__).parent}"
    yield "Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    found = {name: _version(name) for name in DEPENDENCIES}
    yield "installed", ", ".join(f"{name} {held}" for name, held in found.items() if held)
    if absent := [name for name, held in found.items() if not held]:
        yield "missing", f"pip install {' '.join(absent)}"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _geometry() -> Iterator[tuple[str, str]]:
    try:
        yield from ((f"ops on {device}", what) for device, what in backends().items())
    except PccloraError as error:  # the environment asks for what is not there: here is where one looks why
        yield "ops", f"error: {error}"
    yield "pytorch3d", "installed" if find_spec("pytorch3d") else "not installed, and not needed"


def _machine() -> Iterator[tuple[str, str]]:
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    for number in gpus:
        held = torch.cuda.get_device_properties(number)
        yield f"cuda:{number}", f"{held.name}, {held.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    if not gpus:
        built = torch.version.cuda
        yield "cuda", f"none: torch, built for CUDA {built}, finds no GPU" if built else "none: torch is a CPU build"
    if torch.backends.mps.is_available():
        yield "mps", "Apple GPU"
    asked = os.environ.get("OMP_NUM_THREADS")
    why = f"; OMP_NUM_THREADS={asked}" if asked else ""
    yield "threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores{why}"


def _extras() -> Iterator[tuple[str, str]]:
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if find_spec(module) is None]
        said = [_state(module) for module in modules if module not in absent]
        said += [f"{', '.join(absent)} not installed: {pip_line(extra)}"] if absent else []
        yield f"[{extra}]", "; ".join(said)


def _state(module: str) -> str:
    try:
        with quiet():
            found = DOORS[module]() if module in DOORS else import_module(module)
    except PccloraError as error:
        return str(error)
    except (ImportError, RuntimeError, OSError) as error:
        return f"{module} does not load: {first_line(error, kind=False)}"
    return f"{module} {getattr(found, '__version__', '')}".rstrip()


def _shipped() -> Iterator[tuple[str, str]]:
    yield "configs", f"{len(config_names())} in {shipped('configs')}"
    yield "cards", f"of data sets: {shipped('datasets')}"
