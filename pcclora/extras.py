"""What is installed only where it is asked for: loading a run and predicting with it needs none of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import MappingProxyType

from pcclora.errors import PccloraError

EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("accelerate", "sklearn", "matplotlib", "tensorboard", "joblib"),
        "image": ("timm", "torchvision"),
        "las": ("laspy", "lazrs"),
        "html": ("k3d",),
        "vis": ("open3d", "k3d", "matplotlib"),
        "app": ("viser",),
        "export": ("onnx", "onnxscript", "onnxruntime"),
        "hub": ("huggingface_hub",),
        "peft": ("peft",),
        "dask": ("distributed",),
        "ray": ("ray",),
    }
)
"""Extra -> the modules that it installs; ``pyproject.toml`` has their distributions."""
_BEHIND = {"scipy": "sklearn"}
"""What another module of an extra brings with it."""


def pip_line(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'pcclora[{extra}]'"


def require_extra(extra: str, what: str) -> None:
    """Refuse to begin what an extra is needed for; nothing is imported.

    Args:
        extra: Its name.
        what: What needs it, for the message: ``training``.

    Raises:
        PccloraError: Naming what is missing, and the command that installs it.
    """
    if missing := [module for module in EXTRAS[extra] if find_spec(module) is None]:
        raise PccloraError(f"{what} needs {', '.join(missing)}: {pip_line(extra)}")


@contextmanager
def of_extra(extra: str, what: str) -> Iterator[None]:
    """Import within this what an extra installs.

    Args:
        extra: Its name.
        what: What needs it, for the message.

    Raises:
        PccloraError: If it is not installed, with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if _BEHIND.get(name, name) not in EXTRAS[extra]:
            raise
        raise PccloraError(f"{what} needs {name}: {pip_line(extra)}") from error
