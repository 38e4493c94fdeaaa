"""Read a foreign checkpoint file without running anything that is in it.

``.pth`` goes through ``torch.load(weights_only=True)``. Some released files hold numpy scalars (accuracies) or the
command line of their training (an ``argparse.Namespace``) beside the weights; those, and nothing else, are allowed in
addition: they only hold what is put into them. ``.safetensors`` and ``.npz`` hold numbers only. Which of them a file
is, is seen from its content, not from its name. What it unfolds to is compared with its size before it is read.
"""

import argparse
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pcclora.errors import PccloraError
from pcclora.limits import check_archive, check_unfolding, is_lfs_pointer, is_web_page
from pcclora.paths import is_dir, is_file
from pcclora.tensor_file import openable
from pcclora.text import first_line

# under which released files keep the weights; where there is a moving average of them, it is what is meant, as in timm
CONTAINERS = (
    "base_model",
    "model_ema",
    "state_dict_ema",
    "model",
    "model_state_dict",
    "state_dict",
    "teacher",
    "student",
)


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Return the state dict of a file, on the CPU, keys as stored.

    Args:
        path: A ``.pth`` of Point-MAE, Point-BERT, ACT, ReCon, a ViT or their kin (bare, or under a key as
            ``model`` or ``state_dict``), a ``.safetensors``, or an ``.npz``.

    Raises:
        PccloraError: If the file is absent, truncated, not a checkpoint, asks to run code, or declares far more numbers
            than it stores.

    Examples:
        >>> import torch, pcclora
        >>> torch.save({"model": {"module.weight": torch.ones(2, 3)}, "epoch": 300}, "released.pth")
        >>> list(pcclora.models.read_checkpoint("released.pth"))
        ['module.weight']
    """
    file = Path(path)
    if not is_file(file):
        what = "is a folder, not a file" if is_dir(file) else "no such file"
        raise PccloraError(f"{file}: {what}; give a checkpoint (.pth or .safetensors)")
    with file.open("rb") as opened:
        start = opened.read(512)
    if not start:
        raise PccloraError(f"{file}: the file is empty; download it again")
    if is_web_page(start):
        raise PccloraError(f"{file}: this is a web page, not a checkpoint: the download failed; download it again")
    if is_lfs_pointer(start):
        raise PccloraError(f"{file}: this is a Git LFS pointer, not the checkpoint itself; run `git lfs pull`")
    check_archive(file)
    if start.startswith(b"PK") and _is_npz(file):
        return _weights(_read_npz(file), file)
    if start.startswith((b"PK", b"\x80")):  # a zip archive, or a bare pickle as before torch 1.6
        return _weights(_read_pickle(file), file)
    if start[8:9] == b"{":
        return _weights(_read_safetensors(file), file)
    raise PccloraError(f"{file}: neither a .pth nor a .safetensors nor an .npz file; download it again")


def _read_safetensors(file: Path) -> object:
    try:
        with openable(file) as name:
            return load_file(name)
    except (SafetensorError, OSError, ValueError) as error:
        raise PccloraError(f"{file}: a damaged or truncated .safetensors file ({error}); download it again") from error


def _is_npz(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except Exception:  # damaged bytes fail in many ways inside zipfile
        return file.suffix == ".npz"


def _read_npz(file: Path) -> object:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    except (
        Exception
    ) as error:  # damaged bytes fail in many ways: of the archive, of its compression, of an array's header
        raise PccloraError(f"{file}: a damaged or truncated .npz file ({error}); download it again") from error


def _read_pickle(file: Path) -> object:
    try:
        with torch.serialization.safe_globals([*_numpy_scalars(), argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on the age of the pickle protocol
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PccloraError(f"{file}: {_refusal(str(error))}") from error
    except Exception as error:  # damaged bytes fail in dozens of ways inside the unpickler
        raise PccloraError(
            f"{file}: a damaged or truncated .pth file ({first_line(error)}); download it again"
        ) from error


def _refusal(message: str) -> str:
    """Say why torch refused the pickle: because of a foreign name (which), or because the bytes make no sense."""
    for phrase in ("Unsupported global: GLOBAL ", "Trying to call reduce for unrecognized function ", "GLOBAL "):
        if phrase in message:
            name = message.split(phrase, 1)[1].split()[0]
            return (
                f"holds Python objects ('{name}') that could run code when read, so it is refused; take the official "
                "file, or save the state dict alone where you trust the source"
            )
    return "a damaged or truncated .pth file; download it again"


def _numpy_scalars() -> list[Any]:
    """What a pickled numpy number names: its maker, under numpy's old and new module path, and its dtype."""
    dtypes = [kind for name in np.dtypes.__all__ if (kind := getattr(np.dtypes, name)) is not np.dtypes.ObjectDType]
    scalar = np.float64().__reduce__()[0]
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *dtypes,
    ]


def _check_stored(key: str, value: Tensor, file: Path) -> None:
    """Refuse a tensor that is not simply its numbers, or of which far fewer are stored than it has."""
    if value.layout != torch.strided or value.is_meta or value.is_quantized or value.is_nested:
        kind = "no numbers" if value.is_meta else "quantised numbers" if value.is_quantized else str(value.layout)
        raise PccloraError(f"{file}: '{key}' holds {kind}; save it as a plain dense tensor")
    check_unfolding(value.nbytes, value.untyped_storage().nbytes(), f"{file}: '{key}'")


def _weights(content: object, file: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        inside = next((content[name] for name in CONTAINERS if isinstance(content.get(name), Mapping)), content)
        weights = {str(key): value for key, value in inside.items() if isinstance(value, Tensor)}
        for key, value in weights.items():
            _check_stored(key, value, file)
        if weights:
            return weights
    found = (
        f"a dict of {[str(key)[:40] for key in content][:8]}"
        if isinstance(content, Mapping)
        else f"a {type(content).__name__}"
    )
    raise PccloraError(
        f"{file}: holds no weights: {found}; a state dict, or one under {', '.join(CONTAINERS)}, is read"
    )
